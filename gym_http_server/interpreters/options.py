"""`InterpreterOption`: one `--interpreter NAME=…`, parsed and checked."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import InterpreterOptionError
from ..support.files import reason

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..config import Settings

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MODULE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*)?")
OWN_PYTHON: Final = "self"
"""The command that stands for the server's own Python, spawned."""
REQUIREMENTS: Final = "requirements:"

_FORMS: Final = (
    "NAME=COMMAND, where COMMAND starts a Python, such as old=/opt/venvs/old/bin/python, or NAME=requirements:FILE"
)


@dataclass(frozen=True, slots=True)
class RequirementsFile:
    """A file of requirements to make a virtual environment of.

    Attributes:
        path: the file.
        python: version or path of the Python to make it with; None for the server's own.
    """

    path: Path
    python: str | None = None


@dataclass(frozen=True, slots=True)
class InterpreterOption:
    """An interpreter as the settings name it.

    Attributes:
        name: the name by which clients choose it.
        source: the command that starts it, or the file of its requirements.
        imports: modules that it imports first.
        may_fork: whether it is forked for each environment.
    """

    name: str
    source: tuple[str, ...] | RequirementsFile
    imports: tuple[str, ...] = ()
    may_fork: bool = False


def options_of(settings: Settings) -> list[InterpreterOption]:
    """Return the interpreters that the settings name, in their order.

    Raises:
        InterpreterOptionError: a name, command, file or module is not as expected.
    """
    sources: dict[str, tuple[str, ...] | RequirementsFile] = {}
    for text in settings.interpreter:
        name, command = _name_and_rest(f"--interpreter {text}", text, _FORMS)
        if name in sources:
            raise InterpreterOptionError(f"--interpreter {text}: {name!r} is named twice: give each a name of its own")
        sources[name] = _source(f"--interpreter {text}", command)
    imports: dict[str, list[str]] = {name: [] for name in sources}
    for text in settings.interpreter_import:
        option = f"--interpreter-import {text}"
        name, module = _name_and_rest(option, text, "NAME=MODULE, such as old=minigrid")
        _check_known(option, name, sources)
        if not MODULE.fullmatch(module):
            raise InterpreterOptionError(
                f"{option}: {module!r} is no module: name one, such as minigrid, or a function in it, such as "
                "minatar.gym:register_envs"
            )
        imports[name].append(module)
    for name in settings.interpreter_fork:
        _check_known(f"--interpreter-fork {name}", name, sources)
    return [
        InterpreterOption(name, source, tuple(imports[name]), name in settings.interpreter_fork)
        for name, source in sources.items()
    ]


def _check_known(option: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        names = ", ".join(known) or "none"
        raise InterpreterOptionError(f"{option}: no --interpreter is named {name!r}; those named are: {names}")


def _name_and_rest(option: str, text: str, expected: str) -> tuple[str, str]:
    name, _, rest = text.partition("=")
    if not rest.strip():
        raise InterpreterOptionError(f"{option}: expected is {expected}")
    if not NAME.fullmatch(name):
        raise InterpreterOptionError(
            f"{option}: {name!r} is no name: take at most 64 letters, digits, dots, underscores and dashes, and begin with "
            "a letter or digit"
        )
    return name, rest.strip()


def _source(option: str, text: str) -> tuple[str, ...] | RequirementsFile:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise InterpreterOptionError(f"{option}: the quotes do not match ({error})") from None
    if words[0].startswith(REQUIREMENTS):
        return _requirements(option, words[0].removeprefix(REQUIREMENTS), words[1:])
    if words == [OWN_PYTHON]:
        return (OWN_PYTHON,)
    return (command_path(option, words[0]), *words[1:])


def _requirements(option: str, file: str, further: list[str]) -> RequirementsFile:
    # Not `resolve`: the directory of a link is the one that the user means.
    path = Path(os.path.abspath(os.path.expanduser(file)))  # noqa: PTH100, PTH111
    if further and (len(further) != 2 or further[0] != "--python"):
        raise InterpreterOptionError(
            f"{option}: after the file, only --python VERSION or --python PATH is known, not {shlex.join(further)}"
        )
    if not path.is_file():
        raise InterpreterOptionError(f"{option}: there is no file {path}: name one with a requirement in each line")
    try:
        path.open("rb").close()
    except OSError as error:
        raise InterpreterOptionError(f"{option}: {path} cannot be read: {reason(error)}") from None
    python = further[1] if further else None
    if python is not None and os.sep in python:
        python = command_path(option, python)
    return RequirementsFile(path, python)


def command_path(option: str, program: str) -> str:
    """Return the absolute path of a program.

    Raises:
        InterpreterOptionError: there is none.
    """
    found = shutil.which(os.path.expanduser(program))  # noqa: PTH111 -- Path's refuses unknown users
    if found is None:
        where = "no program that may be run" if os.sep in program else "not on PATH"
        raise InterpreterOptionError(
            f"{option}: {program} is {where}: name a Python, or a program that starts one, such as /opt/venvs/old/bin/python"
        )
    # Not resolved: the Python of a virtual environment is a link, and knows its environment by the path.
    return os.path.abspath(found)  # noqa: PTH100
