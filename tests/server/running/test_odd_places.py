"""Odd places to run: what a server can do without is done without, and what it cannot ends the start in one line."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from gym_http_server import start_server
from gym_http_server.runtime.making import opengl
from gym_http_server.support.surroundings import PACKAGE_PARENT, with_working_directory_last
from tests.support.serving import SECONDS, eventually

pytestmark = pytest.mark.full

COMMAND = f"exec {shlex.quote(sys.executable)} -m gym_http_server --port "


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def create(port: int) -> dict[str, object]:
    """Make an environment as soon as the server listens, and return the reply."""
    body = json.dumps({"env_id": "CartPole-v1"}).encode()
    request = Request(f"http://127.0.0.1:{port}/v1/envs/", body, {"Content-Type": "application/json"})

    def made() -> dict[str, object] | None:
        try:
            with urlopen(request, timeout=SECONDS) as answer:
                return dict(json.load(answer))
        except ConnectionRefusedError:
            return None
        except OSError as error:
            if isinstance(getattr(error, "reason", None), ConnectionRefusedError):
                return None
            raise

    return eventually(made, SECONDS)


def serves(script: str, *, cwd: Path, **variables: str) -> str:
    """Have a shell start a server, use it and stop it; return what it wrote to stderr."""
    port = free_port()
    process = subprocess.Popen(
        ["/bin/bash", "-c", script.replace("S ", f"{COMMAND}{port} ", 1)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": PACKAGE_PARENT, **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert create(port)["env_id"] == "CartPole-v1"
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=SECONDS)[1]
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert "Traceback" not in errors
    return errors


def refusal(script: str, cwd: Path) -> str:
    """Have a shell start a server that cannot start; return the line that it ends with."""
    done = subprocess.run(
        ["/bin/bash", "-c", script.replace("S ", f"{COMMAND}0 ", 1)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": PACKAGE_PARENT},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("gym-http-server: ")
    return line


@pytest.mark.parametrize(
    "script",
    [
        "S <&- >&- 2>&-",
        "S > /dev/full",
        "mkdir gone; cd gone; rmdir ../gone; S ",
        "TMPDIR=/nowhere HOME=/nowhere S ",
        "PYTHONOPTIMIZE=2 S ",
    ],
)
def test_a_place_that_lacks_something_is_served_from(tmp_path: Path, script: str) -> None:
    """Closed descriptors, a full device, a directory that is gone: environments are made all the same."""
    serves(script, cwd=tmp_path)


def test_a_read_only_system_is_served_from(tmp_path: Path) -> None:
    """No directory can be written to, not even a temporary one: only recordings cannot be made."""
    # Each directory stays what it is: the interpreter that runs this may lie in a temporary one.
    inner = "set -e; mount --make-rprivate /; mount -o remount,ro,bind /; " + (
        "for each in /tmp /var/tmp /dev/shm; do mount --bind $each $each; mount -o remount,ro,bind $each; done; cd /; "
    )
    probe = ["unshare", "-m", "bash", "-c", inner]
    if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("needs the right to mount (root)")
    serves(f"exec unshare -m bash -c {shlex.quote(inner + 'S ')}", cwd=tmp_path)


@pytest.mark.parametrize("name", ["random", "http", "logging", "numpy"])
def test_a_file_in_the_working_directory_stands_for_no_library(tmp_path: Path, name: str) -> None:
    """Beside an environment's module there may be files of any name."""
    (tmp_path / f"{name}.py").write_text("raise ImportError('the wrong module')\n")
    (tmp_path / "my_envs.py").write_text("import gymnasium\n")
    serves("S --import my_envs", cwd=tmp_path)


def test_a_safe_path_is_kept(tmp_path: Path) -> None:
    """With PYTHONSAFEPATH no module of the working directory is imported, not even one that is asked for."""
    (tmp_path / "my_envs.py").write_text("import gymnasium\n")
    assert "my_envs" in refusal("PYTHONSAFEPATH=1 S --import my_envs", tmp_path)


def test_the_working_directory_comes_last_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By its name, once, and nowhere where it was not on the path."""
    monkeypatch.chdir(tmp_path)
    here = str(tmp_path)
    assert with_working_directory_last(["", "/lib"]) == ["/lib", here]
    assert with_working_directory_last([here, "/lib", ""]) == ["/lib", here]
    assert with_working_directory_last(["/lib"]) == ["/lib"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("S --results-root file", "--results-root file is no directory"),
        ("S --upload-to file/below", "cannot be written to: Not a directory"),
        ("S --api-key-file .", "Is a directory"),
        ("S --tls-cert nowhere", "No such file"),
        ("ulimit -n 20; S ", "ulimit -n"),
    ],
)
def test_what_a_server_cannot_do_without_ends_its_start(tmp_path: Path, script: str, words: str) -> None:
    """One line says what is wrong, before anything is served."""
    (tmp_path / "file").touch()
    assert words in refusal(script, tmp_path)


def test_start_server_serves_where_an_event_loop_runs() -> None:
    """In a notebook's cell it serves in a thread of its own, and returns after the shutdown."""

    async def cell() -> list[str]:
        urls: list[str] = []

        def use(url: str) -> None:
            import threading

            urls.append(url)
            threading.Thread(target=lambda: urlopen(Request(f"{url}/v1/shutdown/", b"")).close()).start()

        start_server(port=0, on_start=use)
        return urls

    assert len(asyncio.run(cell())) == 1


def test_an_environment_of_the_callers_program_alone_is_said_to_be_that(tmp_path: Path) -> None:
    """Its registration is not in the environments' processes, and the error says where to put it."""
    (tmp_path / "notebook.py").write_text(
        "import gymnasium, gymnasium.envs.classic_control as c, sys\nfrom gym_http_server import start_server\n"
        "gymnasium.register('OnlyHere-v0', c.CartPoleEnv)\n"
        "start_server(port=0, on_start=lambda url: print(url, flush=True))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "notebook.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        url = process.stdout.readline().strip()
        request = Request(f"{url}/v1/envs/", b'{"env_id": "OnlyHere-v0"}', {"Content-Type": "application/json"})
        with pytest.raises(OSError) as raised, urlopen(request, timeout=SECONDS):  # noqa: PT011 -- its body is looked at
            pass
        detail = json.load(raised.value)["detail"]
    finally:
        process.terminate()
        process.communicate(timeout=SECONDS)
    assert "imports=(" in detail
    assert "engine='inline'" in detail


@pytest.mark.skipif(sys.platform != "linux", reason="only there a drawing library is chosen")
def test_a_display_that_nobody_answers_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MuJoCo draws without a display then; where somebody answers, it is left to it."""
    pytest.importorskip("mujoco")
    monkeypatch.setattr(opengl.ctypes.util, "find_library", lambda name: f"lib{name}.so")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name, value in (
        ("DISPLAY", ":77"),
        ("DISPLAY", "127.0.0.1:6"),
        ("DISPLAY", "x"),
        ("WAYLAND_DISPLAY", "wayland-7"),
    ):
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        monkeypatch.setenv(name, value)
        monkeypatch.delenv("MUJOCO_GL", raising=False)
        opengl.choose()
        assert os.environ["MUJOCO_GL"] == "egl", value
    with socket.socket(socket.AF_UNIX) as compositor:
        compositor.bind(str(tmp_path / "wayland-7"))
        compositor.listen()
        monkeypatch.delenv("MUJOCO_GL")
        opengl.choose()
    assert "MUJOCO_GL" not in os.environ
