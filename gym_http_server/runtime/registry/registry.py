"""`Registry`: the environments that a server can make, and the installed libraries."""

from __future__ import annotations

import contextlib
import importlib.metadata
import sys
import threading
import time
from concurrent.futures import Future
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...errors import InquiryFailedError
from ..messages import OWN_IDS
from .registered import DM_CONTROL, MODULE, RegisteredEnv, in_order
from .subprocess_query import Inquirer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ...config import Settings

MIN_TIMEOUT_SECONDS: Final = 15.0
"""Least time for the imports: a short `--call-timeout` is meant for steps."""

LIBRARY_SECONDS: Final = 60.0
"""Least time for a library that is asked for by name, which no request waits for: EnvPool takes 6 s without compiled modules."""

KEPT_FAILURE_SECONDS: Final = 10.0
"""Time after which a library that failed is asked again."""

DISTRIBUTIONS: Final = ("gymnasium", "gym", "ale-py", "box2d", "mujoco", "minigrid", "pettingzoo", "highway-env")
"""Distributions listed on the home page."""

REGISTRATIONS: Final = "gymnasium"
"""Name of what Gymnasium and gym register, with `--import` and `--env`, among the libraries that are asked."""

MODULES: Final = {DM_CONTROL: ("dm_control", "shimmy"), **{name: (module,) for name, module in OWN_IDS.items()}}
"""Modules that have to be installed for each library that is asked for by name."""


class Registry:
    """The environments that the libraries register, listed by processes that import them. Thread-safe.

    Args:
        settings: of which `imports`, `env`, `pass_variable` and `call_timeout` are used.
    """

    def __init__(self, settings: Settings) -> None:
        seconds = max(settings.call_timeout, MIN_TIMEOUT_SECONDS)
        variables = settings.pass_variable
        own = Inquirer(settings.sources, pass_variable=variables, seconds=seconds, setting="--call-timeout")
        others = Inquirer(
            pass_variable=variables,
            seconds=max(seconds, LIBRARY_SECONDS),
            setting="--call-timeout",
            remedy="uninstall its package",
        )
        self._inquirers = (own, others)
        self._registered = _Answer(own, {"library": None, "imports": settings.imports}, 0.0)
        self._libraries = {name: _Answer(others, {"library": name}, KEPT_FAILURE_SECONDS) for name in MODULES}

    def environments(self) -> Future[tuple[RegisteredEnv, ...]]:
        """Return a future of what Gymnasium and gym register, in order. Does not block.

        The future raises `InquiryFailedError` if the process fails.
        """
        return self._registered.environments()

    def ask(self, library: str | None = None) -> dict[str, Future[tuple[RegisteredEnv, ...]]]:
        """Return such futures of the installed libraries that may have environments of a library, or of all, by name.

        Each has a process of its own. `REGISTRATIONS` is always there unless the library has ids of its own.
        """
        asked = {} if library in OWN_IDS else {REGISTRATIONS: self.environments()}
        for name, answer in self._libraries.items():
            is_wanted = library in (None, name) or (name == DM_CONTROL and library == "gymnasium")
            if is_wanted and all(find_spec(module) is not None for module in MODULES[name]):
                asked[name] = answer.environments()
        return asked

    def stop(self) -> None:
        """Kill running processes; their futures raise."""
        for inquirer in self._inquirers:
            inquirer.stop()


class _Answer:
    """The answer to a question, kept until a package is installed or removed. Concurrent calls share one process.

    Args:
        inquirer: asks processes.
        question: the question.
        kept_failure_seconds: time that a failure is kept.
    """

    def __init__(self, inquirer: Inquirer, question: dict[str, Any], kept_failure_seconds: float) -> None:
        self._inquirer = inquirer
        self._question = question
        self._kept_failure_seconds = kept_failure_seconds
        self._lock = threading.Lock()
        self._latest: Future[tuple[RegisteredEnv, ...]] | None = None
        self._packages: tuple[int, ...] = ()
        self._asked_at = 0.0

    def environments(self) -> Future[tuple[RegisteredEnv, ...]]:
        """Return a future of the environments. Does not block."""
        packages = _installed()
        with self._lock:
            latest = self._latest
            if latest is not None and not latest.done():
                return latest
            if latest is not None and packages == self._packages:
                age = time.monotonic() - self._asked_at
                if latest.exception() is None or age < self._kept_failure_seconds:
                    return latest
            self._latest = latest = Future()
            self._packages = packages
            self._asked_at = time.monotonic()
        # A daemon thread: a stopping server would wait for a thread of a pool.
        threading.Thread(target=self._ask, args=(latest,), daemon=True).start()
        return latest

    def _ask(self, future: Future[tuple[RegisteredEnv, ...]]) -> None:
        future.set_running_or_notify_cancel()
        try:
            future.set_result(_checked(self._inquirer.ask(MODULE, self._question)))
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
    """Return all environments in order, without those of `others` that are `own`, too."""
    if not others:
        return own
    by_name = {(each.env_id, each.library, each.interpreter): each for each in (*others, *own)}
    return in_order(by_name.values())


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
