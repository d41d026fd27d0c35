"""Starts a guest: runs an interpreter's command, sends it `guest.py`, and returns its process and the socket to it."""

from __future__ import annotations

import functools
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import guest, library_spaces, wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..messages import Interpreter

OWN: Final = ("self",)
"""The command of the server's own Python."""

SEARCH_PATHS: Final = frozenset(("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__"))
"""Variables that would lead another Python to the server's packages."""

BOOTSTRAP: Final = "exec(compile(open(0,'rb',closefd=False).read({}),'guest.py','exec'))"
"""Runs the guest that comes on stdin. One line: `conda run` takes no more."""

NOT_SENT: Final = re.compile(
    rb"^from __future__ import annotations\n|^from \.\w+ import (?:\([^)]*\)|[^\n(]*)\n", re.MULTILINE
)
"""Lines of a file that the text of the files before it replaces."""

CONDA: Final = frozenset(("conda", "mamba"))


def spawn(
    interpreter: Interpreter, variables: Mapping[str, str] | None = None, *, leads_session: bool = False
) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a guest, which is a child of this process. What it prints goes to this process's stderr.

    Args:
        interpreter: the Python to start.
        variables: environment variables, from which the guest's are taken; None for those of this process.
        leads_session: it leads a session of its own, and is not in this process's.

    Raises:
        OSError: the command cannot be started.
    """
    is_own = interpreter.command == OWN
    given = {
        name: value
        for name, value in (os.environ if variables is None else variables).items()
        if is_own or name not in SEARCH_PATHS
    }
    source = _source()
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = subprocess.Popen(  # noqa: S603 -- the operator's command
                _arguments(interpreter.command, len(source)),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                env=given,
                start_new_session=leads_session,
            )
        ours.sendall(source)
    except BrokenPipeError:
        pass  # its end says more
    except BaseException:
        ours.close()
        raise
    return process, ours


def ending(status: int) -> str:
    """Return the exit status of a process in words."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"


@functools.cache
def _source() -> bytes:
    first, *others = (Path(str(each.__file__)).read_bytes() for each in (wire, library_spaces, guest))
    return first + b"".join(NOT_SENT.sub(b"", text) for text in others)


def _arguments(command: tuple[str, ...], length: int) -> list[str]:
    code = BOOTSTRAP.format(length)
    if command == OWN:
        return [sys.executable, "-c", code]
    words = list(command)
    names = [os.path.basename(word) for word in words]  # noqa: PTH119 -- words are no paths
    if "ssh" in names:
        code = shlex.quote(code)  # a shell reads it on the other host
    if names[0] in CONDA and "run" in words and "--no-capture-output" not in words:
        words.insert(words.index("run") + 1, "--no-capture-output")  # otherwise it keeps stdout until the end
    return [*words, "-c", code]
