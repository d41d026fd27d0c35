"""Making a client by its recipe, and running a program with it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ..support.serving import ROOT
from .clients import Client
from .toolchain import require, run

PROGRAMS = Path(__file__).parent


def make(language: str, command: str, client: Client, directory: Path) -> None:
    """Make the client in a directory; the generator has nothing to say but what no document could help."""
    require(language, client.needs, directory)
    shutil.copy(ROOT / "openapi/openapi.yaml", directory)
    done = run(command, directory)
    said = re.findall(r"^\[\w+\] (?:WARN|ERROR) .*? - (.*)$", done.stdout + done.stderr, re.MULTILINE)
    assert [line for line in said if not re.fullmatch(client.warnings, line)] == []


def program(client: Client, directory: Path, url: str) -> str:
    """Run the program of a recipe beside the client, and return what it printed."""
    for name in (client.program, *client.beside):
        shutil.copy(PROGRAMS / name, directory)
    return run(client.run.format(url=url), directory).stdout
