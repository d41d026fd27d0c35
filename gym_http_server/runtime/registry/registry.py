"""`Registry`: the environments that a server can make, and what those lack that it cannot."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...errors import InquiryFailedError
from .registered import MODULE, RegisteredEnv
from .subprocess_query import Inquirer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...config import Settings

LEAST_SECONDS: Final = 15.0
"""How long the imports may take at least: whoever allows an environment's call a second means a step."""


class Registry:
    """What the libraries register, asked once of a process that imports them; safe to use from several threads.

    The answer is kept until a package is installed or removed. A failure is not kept. Whoever asks while the process is
    under way shares what it answers.

    Args:
        settings: the server's settings: `imports`, `pass_variable` and `call_timeout`.
    """

    def __init__(self, settings: Settings) -> None:
        self._imports = settings.imports
        self._inquirer = Inquirer(
            settings.imports,
            pass_variable=settings.pass_variable,
            seconds=max(settings.call_timeout, LEAST_SECONDS),
            setting="--call-timeout",
        )
        self._lock = threading.Lock()
        self._latest: Future[tuple[RegisteredEnv, ...]] | None = None
        self._packages: tuple[int, ...] = ()

    def environments(self) -> Future[tuple[RegisteredEnv, ...]]:
        """Return what is to be the environments, by id and Gymnasium's before gym's; it does not block.

        The future raises `InquiryFailedError` where the libraries cannot be asked.
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
        # No thread of a pool: a server that stops would wait for it, and one pool is shared with other work.
        threading.Thread(target=self._ask, args=(latest,), daemon=True).start()
        return latest

    def stop(self) -> None:
        """End a process that is under way; who waits for it is told."""
        self._inquirer.stop()

    def _ask(self, asked: Future[tuple[RegisteredEnv, ...]]) -> None:
        asked.set_running_or_notify_cancel()
        try:
            asked.set_result(_checked(self._inquirer.ask(MODULE, self._imports)))
        except BaseException as error:  # noqa: BLE001 -- whoever asked is told
            asked.set_exception(error)


def matching(environments: Iterable[RegisteredEnv], q: str = "", library: str | None = None) -> list[RegisteredEnv]:
    """Return the environments whose id has every word of `q` in it, whatever the case, of one library or of all."""
    found = [each for each in environments if library in (None, each.library)]
    for word in q.casefold().split():
        found = [each for each in found if word in each.env_id.casefold()]
    return found


def _checked(answer: Any) -> tuple[RegisteredEnv, ...]:
    try:
        if not isinstance(answer, list):
            raise ValueError("it is no array")  # noqa: TRY301, TRY004 -- handled as the others are
        return tuple(RegisteredEnv.from_json(each) for each in answer)
    except ValueError as error:
        raise InquiryFailedError(
            f"a module that the libraries import has meddled with the answer what they register: {error}"
        ) from None


def _installed() -> tuple[int, ...]:
    """Return what changes when a package is installed or removed."""
    directories = [each for each in sys.path if Path(each).name in ("site-packages", "dist-packages")]
    return tuple(os.stat(each).st_mtime_ns for each in directories if Path(each).is_dir())  # noqa: PTH116 -- as above
