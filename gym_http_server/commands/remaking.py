"""The environment of a recording, made again on a server: on one that runs, or on one of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any, Final

from ..client import Client, RemoteEnv
from ..config import Settings, can_fork

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..results.trajectories import Trajectories

MAKING: Final = (
    "imports",
    "env",
    "interpreter",
    "interpreter_import",
    "interpreter_fork",
    "interpreter_cache",
    "call_timeout",
    "engine",
    "max_reply",
    "max_memory_per_env",
    "pass_variable",
    "results_root",
)
"""Settings that say how environments are made: those of a server of its own."""

LOOPBACK: Final = "127.0.0.1"


def remake(trajectories: Trajectories, url: str, api_key: str | None) -> RemoteEnv:
    """Make the environment of a recording, or one lane of its batch, on a server.

    Raises:
        ServerProblem, ConnectionError, TimeoutError: it cannot be made there.
    """
    return RemoteEnv(
        url,
        trajectories.env_id,
        api_key=api_key,
        render_mode=trajectories.render_mode,
        kwargs=trajectories.kwargs or None,
        wrappers=trajectories.wrappers or None,
        max_episode_steps=trajectories.max_episode_steps,
        library=trajectories.library.partition(" ")[0] or None,
        interpreter=trajectories.interpreter,
        action_check="library",  # actions that were taken are not refused now
        name="replay",
    )


@contextlib.contextmanager
def server_at(url: str | None, api_key: str | None, settings: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    """Yield the address and key of a server: of the one at `url`, or of one that runs meanwhile with these settings.

    Raises:
        GymHttpServerError: it cannot be started.
    """
    if url is not None:
        yield url, api_key
        return
    options = {each.name: settings[each.name] for each in dataclasses.fields(Settings) if each.name in MAKING}
    # Nobody else can use it; environments may see its key, which is worth nothing.
    options |= {"api_key": secrets.token_urlsafe(), "handover": can_fork() and options["engine"] == "process"}
    with running_server(listen=LOOPBACK, port=0, log_level="error", **options) as started:
        yield started, options["api_key"]


@contextlib.contextmanager
def running_server(**options: Any) -> Iterator[str]:
    """Yield the address of a server that runs meanwhile, in a thread.

    Args:
        **options: its settings.

    Raises:
        GymHttpServerError: it cannot be started.
    """
    from ..server import start_server

    started: Future[str] = Future()
    with ThreadPoolExecutor(1, thread_name_prefix="server") as threads:
        running = threads.submit(start_server, on_start=started.set_result, **options)
        while not started.done():
            if running.done():
                running.result()  # raises why it does not run
            with contextlib.suppress(FutureTimeoutError):
                started.result(0.1)
        try:
            yield started.result()
        finally:
            with Client(started.result(), options.get("api_key") or None) as client:
                client.shutdown_server()
