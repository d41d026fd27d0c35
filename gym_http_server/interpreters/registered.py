"""What an interpreter registers, asked of a guest. Run with `python -m`, this module answers with the list as JSON."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final

from ..errors import GymHttpServerError, InquiryFailedError
from ..runtime.messages import Interpreter
from ..runtime.registry.registered import (
    MAX_ENV_ID_LENGTH,
    MAX_RENDER_MODES,
    RegisteredEnv,
    count,
    finite,
    text,
)
from ..runtime.registry.subprocess_query import answer

if TYPE_CHECKING:
    from ..runtime.registry.subprocess_query import Inquirer, Progress

MODULE: Final = "gym_http_server.interpreters.registered"
"""The name of this module, whose `__name__` is `__main__` in the process."""

KEPT_SECONDS: Final = 600.0
"""Time after which a list is asked for again: what is installed elsewhere changes without notice."""
KEPT_FAILURE_SECONDS: Final = 10.0
MAX_LAST_WORDS_BYTES: Final = 600


class InterpreterRegistry:
    """The environments that an interpreter registers; asked for when they are wanted, and kept for a while. Thread-safe.

    Args:
        interpreter: the interpreter.
        inquirer: asks processes.
        seconds: time limit of the interpreter's answer.
    """

    def __init__(self, interpreter: Interpreter, inquirer: Inquirer, seconds: float) -> None:
        self._interpreter = interpreter
        self._seconds = seconds
        self._inquirer = inquirer
        self._lock = threading.Lock()
        self._latest: Future[tuple[RegisteredEnv, ...]] | None = None
        self._is_asking = False
        self._answered_at = 0.0

    def environments(self) -> Future[tuple[RegisteredEnv, ...]]:
        """Return a future of the environments; it raises `InquiryFailedError`. Does not block."""
        with self._lock:
            latest = self._latest
            has_list = latest is not None and latest.done() and latest.exception() is None
            age = time.monotonic() - self._answered_at
            if latest is not None and (self._is_asking or age < (KEPT_SECONDS if has_list else KEPT_FAILURE_SECONDS)):
                return latest
            self._is_asking = True
            following: Future[tuple[RegisteredEnv, ...]] = Future()
            if latest is None or not has_list:
                self._latest = latest = following
        # A daemon thread: a stopping server would wait for a thread of a pool.
        threading.Thread(target=self._ask, args=(following,), daemon=True).start()
        return latest  # an old list until the new one is there

    def _ask(self, future: Future[tuple[RegisteredEnv, ...]]) -> None:
        future.set_running_or_notify_cancel()
        interpreter = self._interpreter
        try:
            question = {"interpreter": interpreter.to_wire(), "seconds": self._seconds}
            answered = self._inquirer.ask(MODULE, question)
            if "error" in answered:
                raise InquiryFailedError(str(answered["error"]), interpreter=interpreter.name)  # noqa: TRY301 -- passed on below
            future.set_result(tuple(_checked(each, interpreter.name) for each in answered["environments"]))
        except BaseException as error:  # noqa: BLE001 -- passed on through the future
            future.set_exception(error)
        with self._lock:
            self._latest = future
            self._answered_at = time.monotonic()
            self._is_asking = False


def _checked(row: dict[str, Any], interpreter: str) -> RegisteredEnv:
    """Return the environment of a row that a guest answered with, whatever it contains."""
    env_id, modes = text(row["id"]), row.get("render_modes")
    if not 0 < len(env_id) <= MAX_ENV_ID_LENGTH or row.get("library") not in ("gymnasium", "gym"):
        raise InquiryFailedError(f"its answer has an environment that is none: {env_id!r}", interpreter=interpreter)
    reason, vector = row.get("reason"), row.get("vector_entry_point")
    return RegisteredEnv(
        env_id,
        row["library"],
        installed=row.get("installed") is not False,
        reason=None if reason is None else text(reason),
        max_episode_steps=count(row.get("max_episode_steps")),
        reward_threshold=finite(row.get("reward_threshold")),
        vector_entry_point=None if vector is None else text(vector),
        render_modes=[text(mode) for mode in modes[:MAX_RENDER_MODES]] if isinstance(modes, list) else None,
        interpreter=interpreter,
    )


def _answer(question: Any, _: Progress) -> dict[str, Any]:
    from ..runtime.guests import list_registered

    with tempfile.TemporaryFile() as printed:
        # What the command and its modules print, of which the last is the reason if it fails.
        os.dup2(printed.fileno(), 2)
        try:
            return {
                "environments": list_registered(Interpreter.from_wire(question["interpreter"]), question["seconds"])
            }
        except GymHttpServerError as error:
            printed.seek(max(0, printed.seek(0, os.SEEK_END) - MAX_LAST_WORDS_BYTES))
            last = " ".join(text(printed.read().decode(errors="replace")).split())
            return {"error": f"{error.detail}; it printed last: {last}" if last else error.detail}


if __name__ == "__main__":
    answer(_answer)
