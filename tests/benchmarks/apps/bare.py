"""The floor: a bare ASGI app under uvicorn, set up as our server sets it up, with no routing, validation or limits.

python -m tests.benchmarks.apps.bare inline|pipe
"""

from __future__ import annotations

import asyncio
import resource
import sys
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import click
import orjson
import uvicorn
import uvloop

from gym_http_server import __version__
from gym_http_server.http1.listening import listen

from .environment import Environment
from .piped import PipedEnvironment, prepare

Serve = Callable[[bytes], Awaitable[bytes]]


class InlineEnvironment:
    """An `Environment` whose operations are awaited, as the piped one's are."""

    def __init__(self, env_id: str) -> None:
        self._environment = Environment(env_id)

    async def made(self) -> None: ...

    async def reset(self, body: bytes) -> bytes:
        return self._environment.reset(body)

    async def step(self, body: bytes) -> bytes:
        return self._environment.step(body)

    async def close(self) -> None:
        self._environment.close()


class Bare:
    """The app: what serves a path is looked up whole."""

    def __init__(self, make: type[InlineEnvironment | PipedEnvironment]) -> None:
        self._make = make
        self._serves: dict[str, Serve] = {"/v1/envs/": self._create}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        body = message["body"]
        while message.get("more_body"):
            message = await receive()
            body += message["body"]
        answer = await self._serves[scope["path"]](body)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _create(self, body: bytes) -> bytes:
        instance_id = uuid.uuid4().hex[:8]
        environment = self._make(orjson.loads(body)["env_id"])
        await environment.made()
        path = f"/v1/envs/{instance_id}"

        async def close(_: bytes) -> bytes:
            for operation in ("reset", "step", "close"):
                del self._serves[f"{path}/{operation}/"]
            await environment.close()
            return b"{}"

        self._serves[f"{path}/reset/"] = environment.reset
        self._serves[f"{path}/step/"] = environment.step
        self._serves[f"{path}/close/"] = close
        return orjson.dumps({"instance_id": instance_id})


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # Loads what every environment needs, as our fork server does.
    Environment("CartPole-v1").close()
    piped = sys.argv[1] == "pipe"
    if piped:
        prepare()
    config = uvicorn.Config(
        Bare(PipedEnvironment if piped else InlineEnvironment),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        headers=[("server", f"gym-http-server/{__version__}")],
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
        proxy_headers=False,
    )
    sockets = listen("127.0.0.1", 0)
    click.echo("listening on http://{}:{}".format(*sockets[0].getsockname()))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(uvicorn.Server(config).serve(sockets))


if __name__ == "__main__":
    main()
