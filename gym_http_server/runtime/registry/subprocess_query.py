"""Queries about third-party code, each answered by a short-lived process, so that the server does not import that code.

The process runs `python -m` with a module of this package that calls `answer`. It reads the question from stdin, a line of
JSON, and writes lines of JSON to stdout: its progress, which tells where it died, and last the answer. Stdout is a file, so
that a process that an import left running cannot block the server. Stdin is closed when the process is to end: it also ends
with a server that was killed.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any, Final, NoReturn

from ...errors import GymHttpServerError, InquiryFailedError
from .variables import variables_for_environments

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO, TextIO

QUERY_TIMEOUT_SECONDS: Final = 30.0
"""Default time-out of a query; importing a library of environments takes one or two seconds."""

EXIT_TIMEOUT_SECONDS: Final = 5.0
"""Maximum wait for a killed process."""

MAX_OUTPUT_BYTES: Final = 1 << 24
"""Maximum output of a process."""


class Inquirer:
    """Asks questions of processes. Thread-safe.

    Args:
        imports: what the process imports first (`--import`, `--env`).
        pass_variable: variables that it sees even if they look like secrets (`--pass-variable`).
        seconds: time-out of a query.
        setting: the option that sets the time-out, for the error text; empty for none.
        remedy: what else helps against a module that fails, for the error text.
    """

    def __init__(
        self,
        imports: Sequence[str] = (),
        *,
        pass_variable: Sequence[str] = (),
        seconds: float = QUERY_TIMEOUT_SECONDS,
        setting: str = "",
        remedy: str = "start the server without the --import or --env that leads to it",
    ) -> None:
        self._imports = tuple(imports)
        self._pass_variable = pass_variable
        self._seconds = seconds
        self._setting = setting
        self._remedy = remedy
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def ask(self, module: str, question: Any) -> Any:
        """Return the answer to a question; blocks until it is there.

        Args:
            module: the module that answers.
            question: a plain JSON value, as is the answer.

        Raises:
            InquiryFailedError: an import raised, or the process hung or died.
        """
        with contextlib.ExitStack() as stack:
            try:
                replies = stack.enter_context(_anonymous_file())
                status = self._run(module, question, replies)
            except OSError as error:
                raise _failed(f"no process can be started: {error}") from None
            if self._stopped:
                raise _failed("the server is stopping")
            replies.seek(0)
            return self._read(replies.read(MAX_OUTPUT_BYTES + 1), status)

    def stop(self) -> None:
        """Kill the running processes, whose `ask` raises, and start no more."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                _kill(process)

    def _run(self, module: str, question: Any, replies: IO[bytes]) -> int | None:
        """Run a process; return its exit status, or None if it was killed."""
        line = json.dumps({"question": question, "imports": self._imports, "seconds": self._seconds}).encode() + b"\n"
        with self._lock:
            if self._stopped:
                return None
            process = subprocess.Popen(  # noqa: S603 -- a module of this package, with this interpreter
                [sys.executable, "-P", "-m", module],
                env=variables_for_environments(self._pass_variable),
                stdin=subprocess.PIPE,
                stdout=replies,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._processes.add(process)
        stdin = process.stdin
        assert stdin is not None  # noqa: S101 -- for mypy: it is a pipe
        try:
            with contextlib.suppress(BrokenPipeError):
                stdin.write(line)
                stdin.flush()
            return process.wait(self._seconds)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with self._lock:
                self._processes.discard(process)
                _kill(process)
            with contextlib.suppress(BrokenPipeError):
                stdin.close()
            # A process that waits for a hung file system survives the kill until the file system answers.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(EXIT_TIMEOUT_SECONDS)

    def _read(self, replies: bytes, status: int | None) -> Any:
        if len(replies) > MAX_OUTPUT_BYTES:
            raise _failed(f"more than {MAX_OUTPUT_BYTES} bytes were written to the process's stdout")
        last = _last(replies)
        if status == 0 and "answer" in last:
            return last["answer"]
        module = last["module"] if isinstance(last.get("module"), str) else None
        what = f"mend that module, or {self._remedy}" if module else "try again"
        if status == 0 and "error" in last:
            raise _failed(f"{last['error']}: {what}", module)
        doing = last.get("doing", "the start of the process")
        if status is None:
            more = f", or with a larger {self._setting}" if self._setting else ""
            raise _failed(f"{doing} was not over after {self._seconds:g} s and was ended: {what}{more}", module)
        from ..guests.spawning import ending  # loads numpy

        raise _failed(f"{doing} ended the process with {ending(status)}: {what}", module)


def _anonymous_file() -> IO[bytes]:
    """Return a file without a name; on Linux it needs no writable directory."""
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            return os.fdopen(os.memfd_create("gym-http-server"), "w+b")
    return tempfile.TemporaryFile()


def _failed(words: str, module: str | None = None) -> InquiryFailedError:
    facts = {} if module is None else {"module": module}
    return InquiryFailedError(f"the libraries of environments cannot be asked what they register: {words}", **facts)


def _last(replies: bytes) -> dict[str, Any]:
    """Return the last line that is a JSON object; third-party code may have written other lines."""
    for line in reversed(replies.split(b"\n")):
        with contextlib.suppress(ValueError, RecursionError):
            reply = json.loads(line)
            if isinstance(reply, dict):
                return reply
    return {}


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and its session."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


class Progress:
    """Writes the progress and the answer of a query.

    Args:
        replies: the file that the server reads.
    """

    def __init__(self, replies: TextIO) -> None:
        self._replies = replies

    def __call__(self, doing: str, module: str) -> None:
        """Write the next action, a noun phrase, and the module that it concerns."""
        self.reply({"doing": doing, "module": module})

    def reply(self, value: dict[str, Any]) -> None:
        """Write a line."""
        self._replies.write(json.dumps(value) + "\n")
        self._replies.flush()


def answer(answer_to: Callable[[Any, Progress], Any]) -> NoReturn:
    """Answer the question on stdin, and end the process.

    Args:
        answer_to: returns the answer to a question; calls its second argument before each import.
    """
    # Third-party modules may print and read: stdout becomes stderr for them, and stdin is empty.
    progress = Progress(os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)
    asked = json.loads(sys.stdin.readline())
    server = os.dup(0)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 -- a descriptor is wanted
        os.dup2(nothing.fileno(), 0)
    threading.Thread(target=_end_with, args=(server,), daemon=True).start()
    # Also ends an import that holds the GIL, so that the thread cannot run.
    faulthandler.dump_traceback_later(asked["seconds"] + 5.0, exit=True)
    try:
        _import(asked["imports"], progress)
        progress.reply({"answer": answer_to(asked["question"], progress)})
    except GymHttpServerError as error:
        progress.reply({"error": error.detail, "module": error.facts.get("module")})
    # Threads that a module left running must not keep the process alive.
    os._exit(0)


def _end_with(server: int) -> None:
    os.read(server, 1)
    if sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _import(names: Sequence[str], progress: Progress) -> None:
    from ..making.library import declare_imports
    from ..making.sources.imports import option_of

    for name in names:
        progress(option_of(name), name)
        declare_imports((name,))
