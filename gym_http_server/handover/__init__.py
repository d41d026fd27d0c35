"""Connection hand-over: a client's connection moves to the process of the environment that it uses.

The server's side: `gateway.py` decides which connections move, `lent_connections.py` has the duplicates of those that have. The
process's side: `host.py` is one blocking loop over the channel and the connections, `hosted_connection.py` serves one of them,
`hot_service.py` is the hot path. Between them: `connection_frames.py` on the channel and `receive_buffer.py` in shared memory. The
process engine knows all this as `engines/process/connections.py`. OpenEnv's WebSocket moves by the same means: `websocket.py` is the
server's side, `hosted_websocket.py` the process's, and `agents/openenv/` has what both know of a session.

- **When a connection moves.** A hand-over and a return cost as much as two requests through the server. A connection moves with
  the second request in a row for one instance. After a return within 32 requests it needs twice as many in a row, up to 4,096.
- **When it returns.** The process gives the connection back for whatever the hot path would pass to connexion: a request for
  another instance, `Expect: 100-continue`, malformed HTTP, a request larger than the receive buffer, a request that the guard
  refuses. Such a request is not executed; the server parses the same bytes. Earlier requests of the pipeline are answered first.
- **Several connections.** A process serves up to eight, one request at a time, in order of arrival; more stay with the server.
  The server's calls on the channel (render, snapshots, a second client) come before the next request and leave the connections
  where they are. A client that does not take its reply is not read and delays nobody: at most that one reply is kept.
- **What does not wait.** While the process executes a call for somebody else, it cannot give a connection back. The server looks at
  its duplicates for requests that the process would not serve, asks for such a connection on the channel, and takes it if the
  process is still in the same call then: the process reads the channel before it turns to a connection again.
- **When the process dies**, the server continues on its duplicates: 502 or 504 for the request in execution, then the unread
  requests from the receive buffers. Whether a reply that had begun was sent whole is known from `tcp_info` and the noted end of
  the reply; after half a reply the connection ends. `call_timeout` applies to unread and executing requests.
- **How it ends.** A duplicate keeps the stream open, the server's or that of a program which the environment started, so
  whoever ends such a connection calls `shutdown(SHUT_RDWR)`. A graceful stop of uvicorn, and a close of the instance, recall the
  connections.
- **Time-outs hold once.** The receive buffer notes since when the client is waited for, and the next owner continues from there.
- **Trust.** The environment is third-party code that can read its own connections and keep a copy of a descriptor, so with an API
  key connections move only with `--handover`. The process has a digest of the key, not the key. The server takes no descriptor
  from it, only numbers that it checks and bytes that it parses like a client's.
- **A WebSocket** moves after the second step in a row, between two messages, with what the process has to know of its session. There
  whole, unfragmented text frames with a step, a reset or a question for the state are answered, and pings. The first other
  frame brings the connection back with its bytes and a note on the session, and so do a quiet second, the end of the stream and a
  reply that nobody takes: idle time, the server's own pings, dead peers and a stop are the server's. It is never taken from a
  process in a call, because its session is there. While a call takes longer than half a second, the server looks at its duplicate for
  pings and answers them; a cell of the receive buffer keeps the process from writing meanwhile, another has it skip those pings.
- **Not used** with `--no-handover`, the inline engine, TLS, `--trusted-proxy`, `--access-log` or `--compression all`, which alone
  compresses the messages of a WebSocket.

Besides two switches between processes it saves the event loop: a request is one `poll`, one `recv` and one `send`, and a process
whose client answers within 200 µs does not go to sleep in between (`support/waiting.py`).
"""
