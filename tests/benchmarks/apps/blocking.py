"""The floor without an event loop: a blocking server that holds the environment, and nothing that a server needs beside.

python -m tests.benchmarks.apps.blocking

A process of its own serves each connection, and makes the environment that the connection asks for. After a reply it
stays awake for a while: a process that sleeps takes tens of microseconds to wake up and finds its caches cold.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import time

import click
import httptools
import orjson

from gym_http_server.http1.listening import listen

from .environment import Environment

SECONDS_AWAKE = 200e-6
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"


class Request:
    """The request that has arrived last, filled in by httptools."""

    def __init__(self) -> None:
        self.path = b""
        self.body = b""
        self.is_complete = False

    def on_message_begin(self) -> None:
        self.path = self.body = b""
        self.is_complete = False

    def on_url(self, part: bytes) -> None:
        self.path += part

    def on_header(self, name: bytes, value: bytes) -> None: ...

    def on_body(self, part: bytes) -> None:
        self.body += part

    def on_message_complete(self) -> None:
        self.is_complete = True


def serve(connection: socket.socket) -> None:
    """Answer the requests of a connection until its client closes it."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    request = Request()
    parser = httptools.HttpRequestParser(request)
    environment = None
    while data := connection.recv(65536):
        parser.feed_data(data)
        if not request.is_complete:
            continue
        operation = request.path.split(b"/")[-2]
        if operation == b"envs":
            environment = Environment(orjson.loads(request.body)["env_id"])
            reply = b'{"instance_id":"00000000"}'
        elif operation == b"step":
            reply = environment.step(request.body)
        elif operation == b"reset":
            reply = environment.reset(request.body)
        else:
            environment.close()
            reply = b"{}"
        connection.sendall(HEAD % len(reply) + reply)
        end = time.perf_counter() + SECONDS_AWAKE
        while not poll.poll(0) and time.perf_counter() < end:
            pass


def main() -> None:
    # Loads what every environment needs, as our fork server does, for the processes to share.
    Environment("CartPole-v1").close()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()
    (listener,) = listen("127.0.0.1", 0)
    listener.setblocking(True)
    click.echo("listening on http://{}:{}".format(*listener.getsockname()))
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            try:
                serve(connection)
            finally:
                os._exit(0)
        connection.close()


if __name__ == "__main__":
    main()
