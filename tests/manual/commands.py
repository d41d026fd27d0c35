"""`Reader`: does what a document says, fence by fence, in a directory of its own and beside a real server."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from packaging.requirements import Requirement

from ..support.serving import ROOT, Server

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ADDRESS = "127.0.0.1:5000"
"""Where the documents say that the server is."""
RUNNABLE = {"sh", "python", "js", "ts", "go", "java", "r", "perl"}
INTERPRETERS = {
    "sh": ["bash", "-euo", "pipefail", "-c"],
    "python": [sys.executable, "-c"],
    "js": ["node", "--input-type=module", "--eval"],
    "r": ["Rscript", "-e"],
    "perl": ["perl", "-Mstrict", "-Mwarnings", "-e"],
}
"""Commands that take a fence's code as their last argument."""

_MARK = re.compile(r"<!-- (?P<kind>not run|run by): (?P<text>.+) -->")
_SERVE = re.compile(r"gym-http-server(?: (?!spec|check|export|replay|--help).*)?")
_INSTALL = re.compile(r"(?:python -m )?pip install (.*)")
# A reply that is an error ends the script; what a shell has found out is there in the next fence.
_PRELUDE = """
curl() { command curl --fail-with-body --show-error "$@"; }
if [ -e .state ]; then . ./.state; fi
trap 'code=$?; names=$(compgen -v | grep "^[a-z]" | grep -v "^code$" || true); [ -z "$names" ] || declare -p $names > .state; exit $code' EXIT
"""


@dataclass(frozen=True, slots=True)
class Fence:
    """A code block of a document.

    Attributes:
        language: its info string.
        code: what is in it.
        line: number of its first line in the document.
        not_run: the reason why no test runs it, or "".
        run_by: the tests that run it, where that is not the `Reader`.
    """

    language: str
    code: str
    line: int
    not_run: str = ""
    run_by: tuple[str, ...] = ()


def fences(path: Path) -> list[Fence]:
    """Return the code blocks of a document, with the mark in the comment before each."""
    found, mark = [], None
    for token in MarkdownIt("commonmark").enable("table").parse(path.read_text()):
        if token.type in ("fence", "code_block"):
            marks = {mark["kind"]: mark["text"]} if mark else {}
            run_by = tuple(marks["run by"].split(", ")) if "run by" in marks else ()
            found.append(Fence(token.info, token.content, token.map[0] + 1, marks.get("not run", ""), run_by))
        mark = _MARK.fullmatch(token.content.strip()) if token.type == "html_block" else None
    return found


class Reader:
    """Someone who does what a document says; `with Reader(directory) as reader` stops the server at the end.

    Args:
        directory: where the reader works.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._variables: dict[str, str] = {}
        self._server: Server | None = None
        self.missing: list[str] = []

    def __enter__(self) -> Reader:  # noqa: PYI034 -- no subclass
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def follow(self, fence: Fence) -> None:
        """Do what a fence says: write a file, start a server, or run the code."""
        name = re.match(r"# (\S+\.py)\n", fence.code)
        if fence.language == "python" and name:
            (self._directory / name[1]).write_text(fence.code)
        elif fence.language != "sh":
            self._run(fence.language, fence.code)
        else:
            script: list[str] = []
            for line in fence.code.splitlines():
                if _SERVE.fullmatch(line):
                    self._run_script(script)
                    self._serve(line)
                elif found := _INSTALL.fullmatch(line):
                    check_requirements(shlex.split(found[1], comments=True))
                elif found := re.fullmatch(r"export (\w+)=(\S+)", line):
                    self._variables[found[1]] = found[2]
                else:
                    script.append(line)
            self._run_script(script)

    def _run_script(self, lines: list[str]) -> None:
        script = "\n".join(lines)
        lines.clear()
        if script.strip():
            self._run("sh", _PRELUDE + script)

    def _run(self, language: str, code: str) -> None:
        command = INTERPRETERS[language]
        if shutil.which(command[0]) is None:
            self.missing.append(command[0])
            return
        # The example programs go there without being told.
        code = re.sub(r"-m gym_http_server\.example_\w+", rf"\g<0> --url http://{ADDRESS}", code)
        if ADDRESS in code:
            if self._server is None:
                self._serve("gym-http-server")
            code = code.replace(ADDRESS, "{}:{}".format(*self._server.address))
        variables = {
            **os.environ,
            **self._variables,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        }
        done = subprocess.run(
            [*command, code],
            cwd=self._directory,
            env=variables,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"

    def _serve(self, line: str) -> None:
        self._stop()
        # The server works elsewhere: it is told the whole path of a file that the reader has.
        arguments = shlex.split(line, comments=True)[1:]
        arguments = [str(self._directory / each) if (self._directory / each).is_file() else each for each in arguments]
        environment = {**self._variables, "PYTHONPATH": str(self._directory)}
        self._server = Server("--results-root", str(self._directory), *arguments, environment=environment)

    def _stop(self) -> None:
        if self._server is not None:
            with self._server:
                pass
            self._server = None


def check_requirements(arguments: list[str]) -> None:
    """Hold what pip is to install against what the project requires and what is installed here."""
    for argument in arguments:
        if argument.startswith("."):
            extras = set(argument[1:].strip("[]").split(",")) - {""}
            assert extras <= set(PROJECT["optional-dependencies"]), argument
        elif not argument.startswith("-"):
            requirement = Requirement(argument)
            version = importlib.metadata.version(requirement.name)
            assert requirement.specifier.contains(version, prereleases=True), argument
            provided = importlib.metadata.metadata(requirement.name).get_all("Provides-Extra") or []
            assert requirement.extras <= set(provided), argument
            assert not requirement.specifier or is_declared(requirement), argument


def is_declared(requirement: Requirement) -> bool:
    """Return whether the project itself requires that package in that version."""
    extras = PROJECT["optional-dependencies"].values()
    declared = map(Requirement, [*PROJECT["dependencies"], *(text for extra in extras for text in extra)])
    return any((each.name, each.specifier) == (requirement.name, requirement.specifier) for each in declared)
