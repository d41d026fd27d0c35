"""Questions about third-party code, each answered by a process that lives for it: the server neither imports nor runs it.

Such a process is `python -m` of a module of ours that calls `answer`. It reads the question from stdin, a line of JSON, and
writes lines of JSON to stdout: what it is about to do, for the case that it does not survive that, and last the answer. Its
stdout is a file, so that nothing which an import left running can hold the server up; its stdin stays open until it is to
end, so that it ends with a server that was killed.
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

SECONDS: Final = 30.0
"""How long a process may take; importing a library of environments takes one or two."""

EXIT_SECONDS: Final = 5.0
"""How long one that was killed is waited for."""

LARGEST: Final = 1 << 24
"""Bytes that are read of what it writes."""


class Inquirer:
    """Asks; safe to use from several threads.

    Args:
        imports: modules that the process imports first (`--import`).
        pass_variable: variables that it sees though their names are those of secrets.
        seconds: how long it may take.
        setting: the option that says so, for the words of the error; empty for none.
    """

    def __init__(
        self,
        imports: Sequence[str] = (),
        *,
        pass_variable: Sequence[str] = (),
        seconds: float = SECONDS,
        setting: str = "",
    ) -> None:
        self._imports = tuple(imports)
        self._pass_variable = pass_variable
        self._seconds = seconds
        self._setting = setting
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def ask(self, module: str, question: Any) -> Any:
        """Return the answer to a question, a plain JSON value as the question is; it blocks until that is there.

        Args:
            module: the module that answers.
            question: what to hand to it.

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
            return self._read(replies.read(LARGEST + 1), status)

    def stop(self) -> None:
        """End the processes under way, whose askers are told; from now on none is started."""
        with self._lock:
            self._stopped = True
            for each in self._processes:
                _kill(each)

    def _run(self, module: str, question: Any, replies: IO[bytes]) -> int | None:
        """Return the status that the process ended with, or None where it had to be ended."""
        line = json.dumps({"question": question, "imports": self._imports, "seconds": self._seconds}).encode() + b"\n"
        with self._lock:
            if self._stopped:
                return None
            process = subprocess.Popen(  # noqa: S603 -- a module of ours, with this interpreter
                [sys.executable, "-P", "-m", module],
                env=variables_for_environments(self._pass_variable),
                stdin=subprocess.PIPE,
                stdout=replies,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._processes.add(process)
        stdin = process.stdin
        assert stdin is not None  # noqa: S101 -- it was asked for
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
            # Not even a kill ends what waits for a file system that hangs, until that answers.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(EXIT_SECONDS)

    def _read(self, replies: bytes, status: int | None) -> Any:
        if len(replies) > LARGEST:
            raise _failed(f"more than {LARGEST} bytes were written to the process's stdout")
        last = _last(replies)
        if status == 0 and "answer" in last:
            return last["answer"]
        module = last["module"] if isinstance(last.get("module"), str) else None
        what = "mend that module, or start the server without the --import that leads to it" if module else "try again"
        if status == 0 and "error" in last:
            raise _failed(f"{last['error']}: {what}", module)
        doing = last.get("doing", "the start of the process")
        if status is None:
            more = f", or with a larger {self._setting}" if self._setting else ""
            raise _failed(f"{doing} was not over after {self._seconds:g} s and was ended: {what}{more}", module)
        raise _failed(f"{doing} ended the process with {_ending(status)}: {what}", module)


def _anonymous_file() -> IO[bytes]:
    """Return a file without a name; on Linux one that needs no directory to be writable."""
    if hasattr(os, "memfd_create"):
        with contextlib.suppress(OSError):
            return os.fdopen(os.memfd_create("gym-http-server"), "w+b")
    return tempfile.TemporaryFile()


def _failed(words: str, module: str | None = None) -> InquiryFailedError:
    facts = {} if module is None else {"module": module}
    return InquiryFailedError(f"the libraries of environments cannot be asked what they register: {words}", **facts)


def _last(replies: bytes) -> dict[str, Any]:
    """Return the last whole reply; what is none was written by somebody else."""
    for line in reversed(replies.split(b"\n")):
        with contextlib.suppress(ValueError, RecursionError):
            found = json.loads(line)
            if isinstance(found, dict):
                return found
    return {}


def _ending(status: int) -> str:
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it has started."""
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


class Progress:
    """Where the process that answers says how far it is.

    Args:
        replies: what the server reads.
    """

    def __init__(self, replies: TextIO) -> None:
        self._replies = replies

    def __call__(self, doing: str, module: str) -> None:
        """Say what is about to be done, a noun phrase, and the module that is concerned."""
        self.reply({"doing": doing, "module": module})

    def reply(self, value: dict[str, Any]) -> None:
        """Write one reply."""
        self._replies.write(json.dumps(value) + "\n")
        self._replies.flush()


def answer(answer_to: Callable[[Any, Progress], Any]) -> NoReturn:
    """Answer the question of this process, and end it.

    Args:
        answer_to: returns the answer, given the question and where to tell of progress.
    """
    # Third-party modules print and read; what they print is not the answer, and there is nothing for them to read.
    progress = Progress(os.fdopen(os.dup(1), "w"))
    os.dup2(2, 1)
    asked = json.loads(sys.stdin.readline())
    server = os.dup(0)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 -- a descriptor is wanted
        os.dup2(nothing.fileno(), 0)
    threading.Thread(target=_end_with, args=(server,), daemon=True).start()
    # An import that keeps the interpreter from switching to that thread must not outlive a server that has gone, either.
    faulthandler.dump_traceback_later(asked["seconds"] + 5.0, exit=True)
    try:
        _import(asked["imports"], progress)
        progress.reply({"answer": answer_to(asked["question"], progress)})
    except GymHttpServerError as error:
        progress.reply({"error": error.detail, "module": error.facts.get("module")})
    # What a module left running must not keep this process.
    os._exit(0)


def _end_with(server: int) -> None:
    os.read(server, 1)
    if sys.platform != "win32":
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _import(names: Sequence[str], progress: Progress) -> None:
    from ..making.library import declare_imports

    for name in names:
        progress(f"--import {name}", name)
        declare_imports((name,))
