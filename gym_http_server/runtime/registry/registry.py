"""`Registry`: the environments that a server can make, and the installed libraries."""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...errors import InquiryFailedError
from .registered import MODULE, RegisteredEnv
from .subprocess_query import Inquirer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...config import Settings

MIN_TIMEOUT_SECONDS: Final = 15.0
"""Least time for the imports: a short `--call-timeout` is meant for steps."""

DISTRIBUTIONS: Final = ("gymnasium", "gym", "ale-py", "box2d", "mujoco", "minigrid", "pettingzoo", "highway-env")
"""Distributions listed on the home page."""


class Registry:
    """The environments that the libraries register, listed by a process that imports them. Thread-safe.

    The list is kept until a package is installed or removed; a failure is not kept. Concurrent calls share one process.

    Args:
        settings: of which `imports`, `env`, `pass_variable` and `call_timeout` are used.
    """

    def __init__(self, settings: Settings) -> None:
        self._imports = settings.imports
        self._inquirer = Inquirer(
            settings.sources,
            pass_variable=settings.pass_variable,
            seconds=max(settings.call_timeout, MIN_TIMEOUT_SECONDS),
            setting="--call-timeout",
        )
        self._lock = threading.Lock()
        self._latest: Future[tuple[RegisteredEnv, ...]] | None = None
        self._packages: tuple[int, ...] = ()

    def environments(self) -> Future[tuple[RegisteredEnv, ...]]:
        """Return a future of the environments, sorted by id, Gymnasium's before gym's. Does not block.

        The future raises `InquiryFailedError` if the process fails.
        """
        packages = _installed()
        with self._lock:
            latest = self._latest
            if latest is not None and not latest.done():
                return latest
            if latest is not None and latest.exception() is None and packages == self._packages:
                return latest
            self._latest = latest = Future()
            self._packages = packages
        # A daemon thread: a stopping server would wait for a thread of a pool.
        threading.Thread(target=self._ask, args=(latest,), daemon=True).start()
        return latest

    def stop(self) -> None:
        """Kill a running process; its future raises."""
        self._inquirer.stop()

    def _ask(self, future: Future[tuple[RegisteredEnv, ...]]) -> None:
        future.set_running_or_notify_cancel()
        try:
            future.set_result(_checked(self._inquirer.ask(MODULE, self._imports)))
        except BaseException as error:  # noqa: BLE001 -- passed on through the future
            future.set_exception(error)


def matching(environments: Iterable[RegisteredEnv], q: str = "", library: str | None = None) -> list[RegisteredEnv]:
    """Return the environments of a library, or of all, whose id contains every word of `q`, ignoring case."""
    words = q.casefold().split()
    return [
        environment
        for environment in environments
        if library in (None, environment.library) and all(word in environment.env_id.casefold() for word in words)
    ]


def merged(own: Iterable[RegisteredEnv], others: Sequence[RegisteredEnv]) -> Iterable[RegisteredEnv]:
    """Return the environments of the server's own Python and of interpreters, sorted by id, Gymnasium's and own first."""
    if not others:
        return own
    return sorted((*own, *others), key=lambda each: (each.env_id, each.library != "gymnasium", each.interpreter or ""))


def installed() -> dict[str, str]:
    """Return the versions of the installed `DISTRIBUTIONS`, without importing them."""
    versions = {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _checked(answer: Any) -> tuple[RegisteredEnv, ...]:
    try:
        if not isinstance(answer, list):
            raise ValueError("it is no array")  # noqa: TRY301, TRY004 -- handled below
        return tuple(map(RegisteredEnv.from_json, answer))
    except ValueError as error:
        raise InquiryFailedError(
            f"a module that the libraries import has meddled with the answer what they register: {error}"
        ) from None


def _installed() -> tuple[int, ...]:
    """Return the modification times of `sys.path`'s package directories: they change with an installation."""
    directories = [path for path in map(Path, sys.path) if path.name in ("site-packages", "dist-packages")]
    return tuple(path.stat().st_mtime_ns for path in directories if path.is_dir())
