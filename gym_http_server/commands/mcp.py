"""`gym-http-server mcp`: environments as MCP tools over standard input and output, for clients that start a program."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib.util
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from ..api.guard.keys import key_for
from ..api.problems import HttpProblem
from ..client import Client, ServerProblem
from ..config import Settings
from ..errors import GymHttpServerError
from ..runtime.making.dependencies import missing
from .remaking import LOOPBACK, running_server
from .standard_streams import standard_streams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .standard_streams import InputLines, OutputText

SECONDS_TO_END: Final = 6.0
"""Time limit for closing the session's instances and the server; then the process ends all the same."""

_CLOSE_SECONDS: Final = 2.0
"""Time limit for closing instances; one in the middle of a step is left to the end of its server, or of its lease."""

_SHUTDOWN_SECONDS: Final = 1
"""Time that requests under way get: nobody waits for their replies."""

_SIGNALS: Final = ("SIGTERM", "SIGINT", "SIGHUP")


@click.command()
@click.option(
    "--url",
    help="Server whose environments to use; by default one is started for this machine, with the options before the command.",
)
@click.option("--api-key", envvar="GYM_HTTP_SERVER_API_KEY", show_envvar=True, help="The key of that server.")
@click.option(
    "--only",
    default="",
    metavar="ENV_ID",
    help="The only environment, whose actions the tools then have; with kwargs ENV_ID?NAME=VALUE&NAME=VALUE.",
)
@click.pass_context
def mcp(context: click.Context, url: str | None, api_key: str | None, only: str) -> int:
    """Serve MCP on standard input and output, for desktop clients.

    It ends with its input, or by a signal, and closes what the client has made. Messages and the log are on stderr.
    """
    if importlib.util.find_spec("mcp") is None:
        raise missing("gym-http-server mcp", ModuleNotFoundError(name="mcp"))
    above = context.parent or context
    options: dict[str, Any] = {}
    for name, value in above.params.items():
        options[name] = tuple(value) if isinstance(value, list) else value
    # A port that somebody asks for is one to watch at; the usual one may be another server's.
    is_any_port = above.get_parameter_source("port") is ParameterSource.DEFAULT
    settings = Settings(**options | {"port": 0 if is_any_port else options["port"]})
    with standard_streams() as (reading, writing):
        try:
            with _server_at(url, api_key, settings) as (address, key):
                click.echo(f"gym-http-server: MCP on standard input and output; environments at {address}", err=True)
                asyncio.run(_serve(address, key, settings, only, reading, writing))
        except (GymHttpServerError, HttpProblem, ServerProblem, OSError, ValueError) as error:
            click.echo(f"gym-http-server: cannot serve MCP: {' '.join(str(error).split())}", err=True)
            return 1
    return 0


@contextlib.contextmanager
def _server_at(url: str | None, api_key: str | None, settings: Settings) -> Iterator[tuple[str, str | None]]:
    """Yield the address and key of a server: of the one at `url`, or of one that runs meanwhile with these settings.

    Raises:
        GymHttpServerError: it cannot be started.
        ServerProblem, OSError, ValueError: there is none at `url`, or it refuses the key.
    """
    if url is not None:
        with Client(url, api_key) as client:
            client.list_envs()
        yield url, api_key
        return
    key = key_for(settings, (LOOPBACK,)).text
    options = {each.name: getattr(settings, each.name) for each in dataclasses.fields(Settings)}
    options |= {"listen": LOOPBACK, "api_key": key, "api_key_file": "", "tls_cert": "", "tls_key": ""}
    with running_server(**options | {"shutdown_timeout": _SHUTDOWN_SECONDS}) as address:
        yield address, key or None


async def _serve(
    address: str, api_key: str | None, settings: Settings, only: str, reading: InputLines, writing: OutputText
) -> None:
    from mcp.server.stdio import stdio_server

    from ..agents.mcp.pinned_player import player_for
    from ..agents.mcp.rules import Rules
    from ..agents.mcp.server import make_server
    from ..agents.remote_session import RemoteSession

    session = RemoteSession(address, api_key, "mcp over stdio")

    async def serve() -> None:
        server = make_server(await player_for(session, Rules.of(settings), only))
        streams: Any = {"stdin": reading, "stdout": writing}
        with contextlib.suppress(BrokenPipeError):  # nobody reads what it says
            async with stdio_server(**streams) as (received, sent):
                await server.run(received, sent, server.create_initialization_options())

    serving = asyncio.ensure_future(serve())
    loop = asyncio.get_running_loop()
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    with contextlib.suppress(NotImplementedError):  # Windows
        for number in numbers:
            loop.add_signal_handler(number, serving.cancel)
    try:
        await asyncio.wait([serving])
        if not serving.cancelled():
            serving.result()
    finally:
        _end_in_time()
        with contextlib.suppress(NotImplementedError):
            for number in numbers:
                # The next one ends the process, and with it the server and what it has forked.
                loop.remove_signal_handler(number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await session.end("the client has gone")


def _end_in_time() -> None:
    """End the process after `SECONDS_TO_END`, whatever it is waiting for by then."""

    def end() -> None:
        sys.stderr.flush()
        os._exit(1)

    timer = threading.Timer(SECONDS_TO_END, end)
    timer.daemon = True
    timer.start()
