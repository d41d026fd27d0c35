"""The manual's recipes: one command that makes a client in a language, one that runs an agent, and the agent."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..support.serving import ROOT

ADDRESS = "http://127.0.0.1:5000"
"""Where the manual's agents look for a server."""

PAGE = ROOT / "gym_http_server" / "console" / "manual" / "any-language.md"

_PATTERN = re.compile(
    r"""
    ^```sh\n
    (?P<set>     (?:^export[ ].*\n)* )
    (?P<make>    ^openapi-generator-cli[ ]generate[ ].*\n )
    (?P<run>     ^.*\n )
    ```\n
    \n
    (?:<!--.*-->\n)?
    ```(?P<language>\w+)\n
    (?://|[#])[ ](?P<file>\S+)\n
    (?P<code>    (?:.*\n)+? )
    ```\n
    """,
    re.VERBOSE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What the manual says of one language.

    Attributes:
        make: the command that makes the client, in `client`.
        run: the command that runs the agent, after those that set the variables which it needs.
        file: where the agent lies.
        code: the agent.
    """

    make: str
    run: str
    file: str
    code: str

    @property
    def statements(self) -> list[str]:
        """The lines of the agent that say something: no import, and more than a closing bracket."""
        without_imports = re.sub(
            r"^import \((?:\n.+|\n)+?\n\)|^(?:import|package) .*", "", self.code, flags=re.MULTILINE
        )
        return [line for line in without_imports.splitlines() if line.strip(" \t})")]


def recipes() -> dict[str, Recipe]:
    """Return the recipes by the language that their code block names."""
    return {
        found["language"]: Recipe(
            found["make"].strip(), found["set"] + found["run"].strip(), found["file"], found["code"]
        )
        for found in _PATTERN.finditer(PAGE.read_text())
    }
