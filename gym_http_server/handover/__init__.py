"""Connection hand-over: a client's connection moves to the process of the environment that it uses.

`gateway.py` is the server's side, `owner.py` and `owned_protocol.py` are the side of an environment's process. The server sends
ADOPT with the descriptor over the channel (`runtime/frames.py`) and keeps a duplicate (`engines/process/lent_connection.py`);
the process answers RETURNED with the unread bytes, or ENDED.

- **When a connection moves.** A hand-over and a return cost as much as two requests through the server. A connection moves with
  the second request in a row for one instance. After a return within 32 requests it needs twice as many in a row, up to 4,096.
- **When it returns.** The process gives the connection back for whatever the hot path would pass to connexion: a request for
  another instance, `Expect: 100-continue`, malformed HTTP, a request larger than the receive buffer, a request that the guard
  refuses. Such a request is not executed; the server parses the same bytes. Earlier requests of the pipeline are answered first.
- **One connection per instance.** An environment serves one call at a time. A frame of the server on the channel (a call, a
  close) recalls the connection between two requests, so nobody waits behind an idle connection.
- **When the process dies**, the server continues on its duplicate: 502 or 504 for the request in execution, then the unread
  requests from the receive buffer. Whether a reply that had begun was sent whole is known from `tcp_info` and the noted end of
  the reply; after half a reply the connection ends. `call_timeout` applies to unread and executing requests.
- **How it ends.** A duplicate keeps the stream open, the server's or that of a program which the environment started, so
  whoever ends such a connection calls `shutdown(SHUT_RDWR)`. A graceful stop of uvicorn recalls it (`gateway.HandedOver`).
- **Time-outs hold once.** The receive buffer notes since when the client is waited for, and the next owner continues from there.
- **Trust.** The environment is third-party code that can read its own connections and keep a copy of a descriptor, so with an API
  key connections move only with `--handover`. The process has a digest of the key, not the key. The server takes no descriptor
  from it, only numbers that it checks and bytes that it parses like a client's.
- **Not used** with `--no-handover`, the inline engine, TLS, `--trusted-proxy`, `--access-log` or `--compression all`.

Besides two switches between processes it saves a task per request (`OwnedProtocol` drives the coroutine by hand) and uvloop's
write queue (`DirectTransport` calls `send`).
"""
