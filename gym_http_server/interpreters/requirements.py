"""`RequirementsEnvironment`: a virtual environment made of a file of requirements, once, for all servers of a user.

It lies in a directory whose name is the hash of the file's contents and of the Python. It is made in place, because scripts in it
contain its path, and counts only once its marker is there, which is written last. A lock (flock) is held meanwhile, by the tools
that install, too: a server that is killed leaves them running, and the next server waits for their end and begins anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..config import ENVIRONMENT_PREFIX
from ..errors import InterpreterOptionError
from ..support.files import reason
from .options import command_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .options import RequirementsFile

logger = logging.getLogger(__name__)

MARKER: Final = "complete"
"""Name of the file that a complete environment has."""
MAX_LAST_LINES: Final = 12
"""Maximum lines of a tool's output in an error."""
_HIDDEN: Final = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
"""Variables by which one Python's packages would be taken for another's."""
_ERROR_LINE: Final = re.compile(r"\s*((error|fatal|failed)\b|\N{MULTIPLICATION SIGN})", re.IGNORECASE)

_running: set[subprocess.Popen[str]] = set()


def kill_installations() -> None:
    """Kill the tools that are installing, and what they have started."""
    for process in list(_running):
        with contextlib.suppress(ProcessLookupError):
            if sys.platform == "win32":
                process.kill()
            else:
                os.killpg(process.pid, signal.SIGKILL)


class RequirementsEnvironment:
    """The virtual environment of a file of requirements.

    Args:
        name: the interpreter's name, for the log and errors.
        file: the requirements.
        cache: the directory of such environments; empty for the user's.

    Attributes:
        directory: where it lies.

    Raises:
        InterpreterOptionError: the file cannot be read.
    """

    def __init__(self, name: str, file: RequirementsFile, cache: str) -> None:
        self._name = name
        self._file = file
        self._uv = shutil.which("uv")
        self._python = self._base_python()
        try:
            key = hashlib.sha256(file.path.read_bytes())
        except OSError as error:
            raise InterpreterOptionError(f"interpreter {name}: {file.path} cannot be read: {reason(error)}") from None
        is_path = os.sep in self._python
        facts = (
            os.path.realpath(self._python) if is_path else self._python,
            sys.version if self._python == sys.executable else "",
            platform.machine(),
        )
        key.update(repr(facts).encode())
        self.directory = (Path(cache).expanduser().absolute() if cache else user_cache()) / key.hexdigest()[:24]

    @property
    def python(self) -> str:
        """Path of its Python."""
        return str(self.directory / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python"))

    @property
    def is_complete(self) -> bool:
        """Whether everything is installed, and the Python that it was made with is still there."""
        return (self.directory / MARKER).exists() and os.access(self.python, os.X_OK)

    def make(self) -> None:
        """Make it unless it is complete; blocks until it is.

        Raises:
            InterpreterOptionError: it cannot be made; nothing of it is left.
        """
        if self.is_complete:
            return
        try:
            self.directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked() as lock:
                if not self.is_complete:
                    self._remove()
                    try:
                        self._install(lock)
                        (self.directory / MARKER).touch()
                    except BaseException:
                        self._remove()
                        raise
        except OSError as error:
            raise InterpreterOptionError(
                f"interpreter {self._name}: no environment can be made in {self.directory.parent}: {reason(error)}; name a "
                "directory that can be written with --interpreter-cache"
            ) from None

    def _base_python(self) -> str:
        asked = self._file.python
        if asked is None:
            return sys.executable
        if os.sep in asked or self._uv is not None:
            return asked  # uv finds versions, and downloads them
        option = f"interpreter {self._name}: --python {asked} (without uv, a program of that version)"
        return command_path(option, f"python{asked}" if asked[0].isdigit() else asked)

    def _install(self, lock: int | None) -> None:
        logger.info("interpreter %s: installing %s into %s", self._name, self._file.path, self.directory)
        if self._uv is not None:
            self._run([self._uv, "venv", "--python", self._python, str(self.directory)], lock)
            install = [self._uv, "pip", "install", "--python", self.python]
        else:
            self._run([self._python, "-m", "venv", str(self.directory)], lock)
            install = [self.python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
        self._run([*install, "-r", str(self._file.path)], lock)
        logger.info("interpreter %s: %s is installed", self._name, self._file.path)

    def _run(self, command: Sequence[str], lock: int | None) -> None:
        """Run a tool and log what it prints; paths in the file are relative to the file's directory."""
        variables = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(ENVIRONMENT_PREFIX) and name not in _HIDDEN
        }
        last: deque[str] = deque(maxlen=1000)
        with subprocess.Popen(  # noqa: S603 -- what the settings name
            command,
            cwd=self._file.path.parent,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            pass_fds=() if lock is None else (lock,),
            start_new_session=True,
        ) as process:
            _running.add(process)
            try:
                assert process.stdout is not None  # noqa: S101 -- for mypy: it is a pipe
                for line in process.stdout:
                    if line := line.rstrip():
                        last.append(line)
                        logger.info("interpreter %s: %s", self._name, line)
            finally:
                status = process.wait()
                _running.discard(process)
        if status:
            raise InterpreterOptionError(
                f"interpreter {self._name}: no environment can be made of {self._file.path}; "
                f"{Path(command[0]).name} says: {_last_words(last) or f'nothing, and ended with status {status}'}"
            )

    def _remove(self) -> None:
        if self.directory.exists():
            shutil.rmtree(self.directory)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int | None]:
        """Hold the lock of the directory; yield its descriptor, or None on a system without flock."""
        if sys.platform == "win32":
            yield None
            return
        import fcntl

        descriptor = os.open(self.directory.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.info("interpreter %s: another server installs into %s; waiting", self._name, self.directory)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


def user_cache() -> Path:
    """Return the directory of virtual environments below the user's cache directory."""
    base = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "gym-http-server" / "interpreters"


def _last_words(lines: Sequence[str]) -> str:
    """Return the lines from the first that looks like an error, which name the package, or else the last ones."""
    first = next((index for index, line in enumerate(lines) if _ERROR_LINE.match(line)), None)
    words = list(lines)[-MAX_LAST_LINES:] if first is None else list(lines)[first:][:MAX_LAST_LINES]
    return " ".join(" ".join(words).split())
