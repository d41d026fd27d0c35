"""The options that name interpreters: what they mean, and what is refused at the start."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from gym_http_server.config import Settings
from gym_http_server.errors import InterpreterChoiceError, InterpreterOptionError
from gym_http_server.interpreters.interpreters import Interpreters
from gym_http_server.interpreters.options import InterpreterOption, RequirementsFile, options_of
from tests.support.serving import Server


def parsed(*interpreter: str, imports: tuple[str, ...] = ()) -> list[InterpreterOption]:
    return options_of(Settings(interpreter=interpreter, interpreter_import=imports))


def test_a_command_is_split_as_in_a_shell_and_its_program_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The program may be on PATH, its arguments may be quoted, and `self` stands for the server's own Python."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    env = shutil.which("env")
    named = parsed(f"a={sys.executable}", "b=env 'A=1 2' python", "c-2.x=self", imports=("a=one", "a=two.three:four"))
    assert named == [
        InterpreterOption("a", (sys.executable,), ("one", "two.three:four")),
        InterpreterOption("b", (env, "A=1 2", "python")),
        InterpreterOption("c-2.x", ("self",)),
    ]


def test_the_python_of_a_virtual_environment_stays_a_link(tmp_path: Path) -> None:
    """Resolved, it would be the Python that the environment was made with."""
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    assert parsed(f"a={link}") == [InterpreterOption("a", (str(link),))]


def test_requirements_may_name_a_python(tmp_path: Path) -> None:
    """By its version, or by its path."""
    file = tmp_path / "my requirements.txt"
    file.write_text("numpy\n")
    named = parsed(
        f"a=requirements:'{file}'",
        f"b=requirements:'{file}' --python 3.9",
        f"c='requirements:{file}' --python {sys.executable}",
    )
    assert [each.source for each in named] == [
        RequirementsFile(file),
        RequirementsFile(file, "3.9"),
        RequirementsFile(file, sys.executable),
    ]


REFUSED = {
    "old": "--interpreter old: expected is NAME=COMMAND",
    "old=": "expected is NAME=COMMAND",
    "=python": "'' is no name: take at most 64",
    "a b=python": "'a b' is no name",
    "old=/nowhere/python": "/nowhere/python is no program that may be run",
    "old=no-such-program": "no-such-program is not on PATH",
    "old=env 'python": "the quotes do not match",
    "old=requirements:/nowhere.txt": "there is no file /nowhere.txt",
    f"old=requirements:{__file__} --pre": "only --python VERSION or --python PATH is known, not --pre",
    f"old=requirements:{__file__} --python /nowhere/python": "/nowhere/python is no program",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_an_option_that_is_wrong_says_what_was_expected(text: str) -> None:
    """Its text is quoted, with what is wrong with it."""
    with pytest.raises(InterpreterOptionError, match=re.escape(REFUSED[text])):
        parsed(text)


def test_a_name_stands_for_one_interpreter() -> None:
    """The second of the same name is refused, and so is a module for a name that no interpreter has."""
    with pytest.raises(InterpreterOptionError, match="'a' is named twice"):
        parsed("a=self", "a=env")
    with pytest.raises(InterpreterOptionError, match="no --interpreter is named 'b'; those named are: a"):
        parsed("a=self", imports=("b=module",))
    with pytest.raises(InterpreterOptionError, match="--interpreter-fork b: no --interpreter is named 'b'"):
        options_of(Settings(interpreter=("a=self",), interpreter_fork=("b",)))
    for wrong in ("a=no module", "a=../module.py", "a=module:f()"):
        with pytest.raises(InterpreterOptionError, match="is no module"):
            parsed("a=self", imports=(wrong,))


def test_an_interpreter_that_may_be_forked_is_named_so() -> None:
    """The others are spawned for each environment."""
    named = options_of(Settings(interpreter=("a=self", "b=self"), interpreter_fork=("b",)))
    assert [each.may_fork for each in named] == [False, True]


def test_an_unknown_name_is_answered_with_those_that_there_are() -> None:
    """Or with the option, where there are none."""
    with pytest.raises(InterpreterChoiceError, match="no interpreter is named 'new': this server has old, older"):
        Interpreters(Settings(interpreter=("old=self", "older=self"))).named("new")
    with pytest.raises(InterpreterChoiceError, match=re.escape("none besides its own (--interpreter)")):
        Interpreters(Settings()).named("new")


def test_a_server_with_a_wrong_option_does_not_start() -> None:
    """It ends with one line, and values with blanks are quoted in the variable as in a shell."""
    variables = {"GYM_HTTP_SERVER_INTERPRETER": "a='/usr/bin/env python' b=/nowhere/python"}
    with pytest.raises(AssertionError, match="gym-http-server: --interpreter b=/nowhere/python: /nowhere/python is no"):
        Server(environment=variables)
