"""Virtual environments made of requirements: made once, by one server at a time, and never half."""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import signal
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import psutil
import pytest

from gym_http_server.errors import InterpreterOptionError
from gym_http_server.interpreters.options import RequirementsFile
from gym_http_server.interpreters.requirements import MARKER, RequirementsEnvironment
from tests.support.serving import SECONDS, eventually, living

UV = """#!{python}
import pathlib, subprocess, sys, time

here = pathlib.Path(__file__).parent
match sys.argv[1:]:
    case ["venv", "--python", python, directory]:
        (pathlib.Path(directory) / "bin").mkdir(parents=True)
        (pathlib.Path(directory) / "bin" / "python").symlink_to({python!r})
    case ["pip", "install", "--python", python, "-r", file]:
        with (here / "installed").open("a") as log:
            print(python, file=log)
        for name in pathlib.Path(file).read_text().split():
            while name == "slow" and not (here / "gate").exists():
                time.sleep(0.01)
            if name == "missing":
                print("Resolving")
                sys.exit("error: No solution found\\n  cause: Because missing was not found")
            (pathlib.Path(python).parent / name).touch()
    case wrong:
        sys.exit(f"error: unknown {{wrong}}")
"""
"""A `uv` that makes what looks like a virtual environment; the requirement `slow` waits for a gate, `missing` fails."""

MAKE = """
import sys
from pathlib import Path
from gym_http_server.interpreters.options import RequirementsFile
from gym_http_server.interpreters.requirements import RequirementsEnvironment

environment = RequirementsEnvironment("old", RequirementsFile(Path(sys.argv[1])), sys.argv[2])
environment.make()
print(environment.is_complete)
"""


class Surroundings:
    """A `uv` on PATH, a file of requirements and a cache."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.file = folder / "requirements.txt"
        self.cache = folder / "cache" / "environments"
        self.bin.mkdir()
        (self.bin / "uv").write_text(UV.format(python=sys.executable))
        (self.bin / "uv").chmod(0o755)

    def environment(self, text: str, python: str | None = None) -> RequirementsEnvironment:
        self.file.write_text(text)
        return RequirementsEnvironment("old", RequirementsFile(self.file, python), str(self.cache))

    def process(self) -> subprocess.Popen[str]:
        """Return a process that makes the environment."""
        command = [sys.executable, "-c", MAKE, str(self.file), str(self.cache)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)

    @property
    def installations(self) -> list[str]:
        log = self.bin / "installed"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    made = Surroundings(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}{os.pathsep}{os.environ['PATH']}")
    return made


def test_an_environment_is_made_once(here: Surroundings, caplog: pytest.LogCaptureFixture) -> None:
    """The log tells the progress, and whoever asks again has it without an installation."""
    environment = here.environment("one two")
    assert not environment.is_complete
    with caplog.at_level(logging.INFO):
        environment.make()
        assert f"interpreter old: installing {here.file} into {environment.directory}" in caplog.text
    environment.make()
    again = here.environment("one two")
    assert again.is_complete
    assert (Path(again.python).parent / "two").exists()
    assert here.installations == [again.python]


def test_other_contents_or_another_python_make_another_environment(here: Surroundings) -> None:
    """The directory is that of the file's contents and of the Python, not of the file's name."""
    directories = {here.environment("one").directory, here.environment("two").directory}
    directories |= {here.environment("two", python).directory for python in ("3.9", "3.10", "/bin/sh")}
    assert len(directories) == 5
    assert here.environment("one").directory in directories


def test_a_failed_installation_says_which_package_and_leaves_nothing(here: Surroundings) -> None:
    """What was installed before it is removed, and the next server tries again."""
    environment = here.environment("one missing two")
    for _ in range(2):
        with pytest.raises(
            InterpreterOptionError, match="uv says: error: No solution found cause: Because missing was"
        ):
            environment.make()
        assert not environment.is_complete
        assert not environment.directory.exists()
    assert len(here.installations) == 2


def test_two_servers_that_start_at_once_make_one(here: Surroundings) -> None:
    """The second waits for the first and finds a complete environment."""
    environment = here.environment("slow one")
    processes = [here.process(), here.process()]
    eventually(lambda: here.installations)
    assert not environment.is_complete
    (here.bin / "gate").touch()
    assert [each.communicate(timeout=SECONDS)[0] for each in processes] == ["True\n"] * 2
    assert here.installations == [environment.python]


def test_what_a_killed_server_left_is_made_anew(here: Surroundings, caplog: pytest.LogCaptureFixture) -> None:
    """Its tool, which lives on, has the lock: nobody installs into the same directory meanwhile."""
    environment = here.environment("slow one")
    with here.process() as killed:
        eventually(lambda: here.installations)
        killed.send_signal(signal.SIGKILL)
    assert environment.directory.exists()
    with caplog.at_level(logging.INFO):
        following = threading.Thread(target=environment.make)
        following.start()
        eventually(lambda: "another server installs" in caplog.text)
    assert len(here.installations) == 1
    (here.bin / "gate").touch()
    following.join(SECONDS)
    assert environment.is_complete
    assert len(here.installations) == 2


def test_a_signal_during_an_installation_ends_it(here: Surroundings) -> None:
    """The command ends at once, and the tool with it."""
    here.file.write_text("slow")
    named = ("--interpreter", f"old=requirements:{here.file}", "--interpreter-cache", str(here.cache))
    command = [sys.executable, "-m", "gym_http_server", "--port", "0", *named]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        eventually(lambda: here.installations)
        children = psutil.Process(server.pid).children(recursive=True)
        server.terminate()
        assert server.wait(SECONDS) == 128 + signal.SIGTERM
    assert not living(children)


def test_an_environment_whose_python_is_gone_is_made_anew(here: Surroundings) -> None:
    """The Python that it was made with may have been removed by an upgrade."""
    environment = here.environment("one")
    environment.make()
    Path(environment.python).unlink()
    Path(environment.python).symlink_to("/nowhere/python")
    assert not environment.is_complete
    environment.make()
    assert environment.is_complete


def test_a_cache_that_cannot_be_written_is_named_with_its_option(here: Surroundings) -> None:
    """So that another directory can be named."""
    here.cache.parent.write_text("a file")
    with pytest.raises(InterpreterOptionError, match=f"can be made in {here.cache}: .* --interpreter-cache"):
        here.environment("one").make()


def test_without_uv_a_version_is_looked_for_on_path(here: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is `python` and the version; one that is not there is named."""
    (here.bin / "uv").unlink()
    monkeypatch.setenv("PATH", str(here.bin))
    (here.bin / "python7.7").symlink_to(sys.executable)
    here.environment("one", "7.7")
    with pytest.raises(InterpreterOptionError, match=r"--python 7.8 .* python7.8 is not on PATH"):
        here.environment("one", "7.8")


def make_wheel(folder: Path, name: str, version: str) -> Path:
    """Make a wheel of a module that knows its version."""
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{name}-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{name}-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            lines.append(f"{file},sha256={digest},{len(text)}\n")
            wheel.writestr(file, text)
        wheel.writestr(f"{name}-{version}.dist-info/RECORD", "".join(lines) + f"{name}-{version}.dist-info/RECORD,,\n")
    return path


@pytest.mark.full
def test_without_uv_venv_and_pip_make_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel beside the file is installed from a relative path."""
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    wheel = make_wheel(tmp_path, "clash", "1.0")
    file = tmp_path / "requirements.txt"
    file.write_text(f"--no-index\n./{wheel.name}\n")
    environment = RequirementsEnvironment("old", RequirementsFile(file), str(tmp_path / "cache"))
    environment.make()
    assert (environment.directory / MARKER).exists()
    assert (
        subprocess.check_output([environment.python, "-c", "import clash; print(clash.VERSION)"], text=True) == "1.0\n"
    )
