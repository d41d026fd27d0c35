"""MuJoCo on a machine without a display: it draws where it can, and where it cannot nothing is lost but the frame."""

from __future__ import annotations

import ctypes.util
import importlib.util
import io
import os
import socket
import sys
import types
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import pytest
from PIL import Image

from gym_http_server.runtime.making import opengl
from tests.conftest import KINDS, start
from tests.support.serving import Server

HEADLESS = {"DISPLAY": "", "WAYLAND_DISPLAY": ""}

pytestmark = pytest.mark.skipif(importlib.util.find_spec("mujoco") is None, reason="MuJoCo is not installed")

needs_egl = pytest.mark.skipif(
    ctypes.util.find_library("EGL") is None, reason="the system has no libEGL: apt install libegl1"
)


def stepped(server: Server, env: str) -> Any:
    action = server.get(f"{env}/action_space/sample").json["action"]
    answer = server.post(f"{env}/step/", {"action": action, "render": True}, headers={"Accept": "application/msgpack"})
    assert answer.status == 200, answer.body
    return msgpack.unpackb(answer.body)


@needs_egl
@pytest.mark.parametrize("kind", KINDS)
def test_it_renders_without_a_display(kind: str) -> None:
    """Where the system has EGL, each step of Hopper brings a picture, and renderEnv the same one."""
    with start(kind, environment={**HEADLESS, "MUJOCO_GL": ""}) as server:
        env = server.create("Hopper-v5", seed=1)
        server.post(f"{env}/reset/")
        for _ in range(2):
            frame = stepped(server, env)["frame"]
            shown = np.frombuffer(frame["data"], frame["dtype"]).reshape(frame["shape"])
            assert np.ptp(shown) > 0
            picture = np.asarray(Image.open(io.BytesIO(server.get(f"{env}/render/").body)))
            np.testing.assert_array_equal(shown, picture)


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"MUJOCO_GL": "glfw"}, id="a window system that is not there"),
        pytest.param(
            {"MUJOCO_GL": "egl", "__EGL_VENDOR_LIBRARY_FILENAMES": os.devnull},
            id="EGL without a device",
            marks=needs_egl,
        ),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_where_it_cannot_draw_it_says_the_same_each_time(kind: str, variables: dict[str, str]) -> None:
    """Each step is taken and has the same `frame_error`, renderEnv the same problem, and so has the next instance."""
    with start(kind, environment={**HEADLESS, **variables}) as server:
        other = server.create("CartPole-v1")
        server.post(f"{other}/reset/")
        errors = []
        for _ in range(2):
            env = server.create("Hopper-v5")
            server.post(f"{env}/reset/")
            for _ in range(2):
                reply = stepped(server, env)
                assert reply["frame"] is None
                answer = server.get(f"{env}/render/")
                assert answer.status == 502
                errors += [reply["frame_error"], answer.message]
            assert server.get(f"{env}/").json["steps"] == 2
        assert len(set(errors)) == 1, errors
        assert server.get(f"{other}/render/").status == 200


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_that_cannot_be_opened_ends_nothing(kind: str) -> None:
    """Each reset of an instance in render mode `human` is a 502, and the instance is there for the next."""
    with start(kind, environment={**HEADLESS, "MUJOCO_GL": ""}) as server:
        env = server.create("Hopper-v5", render_mode="human")
        assert [server.post(f"{env}/reset/").status for _ in range(3)] == [502] * 3


def chosen(
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    libraries: set[str],
    answers: Callable[[Any], bool] = bool,  # wherever a display may be, there is one
) -> str | None:
    """Return what MUJOCO_GL is after the choice, in a process with these variables and on a system with these libraries."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/0")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(opengl, "_answers", answers)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: f"lib{name}.so.1" if name in libraries else None)
    opengl.choose()
    return os.environ.get("MUJOCO_GL")


@pytest.mark.parametrize(
    ("variables", "libraries", "expected"),
    [
        ({}, {"EGL", "OSMesa"}, "egl"),
        ({"MUJOCO_GL": "", "DISPLAY": ""}, {"EGL"}, "egl"),
        ({}, {"OSMesa"}, "osmesa"),
        ({}, set(), None),
        ({"MUJOCO_GL": "glfw"}, {"EGL"}, "glfw"),
        ({"DISPLAY": ":0"}, {"EGL"}, None),
        ({"WAYLAND_DISPLAY": "wayland-0"}, {"EGL"}, None),
    ],
)
def test_the_choice_is_for_machines_without_a_display_and_for_what_is_installed(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], libraries: set[str], expected: str | None
) -> None:
    """EGL before OSMesa, and nothing where a display is, the variable is set or neither is installed."""
    assert chosen(monkeypatch, variables, libraries) == expected


def test_a_display_on_another_machine_is_asked_at_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """Display N of a host is at port 6000 + N of it (X(7)); where nobody listens there is none."""
    answers = opengl._answers
    with socket.create_server(("127.0.0.1", 0)) as listening:
        variables = {"DISPLAY": f"127.0.0.1:{listening.getsockname()[1] - 6000}.0"}
        assert chosen(monkeypatch, variables, {"EGL"}, answers) is None
    assert chosen(monkeypatch, variables, {"EGL"}, answers) == "egl"


@pytest.fixture
def mujoco(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A MuJoCo whose contexts fail with the text that they are given, in the place of the real one."""

    class FatalError(Exception):
        pass

    class MjrContext:
        def __init__(self, failure: Exception | None = None) -> None:
            if failure is not None:
                raise failure

    module = types.ModuleType("mujoco")
    module.FatalError, module.MjrContext = FatalError, MjrContext  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mujoco", module)
    opengl.keep_from_aborting()
    opengl.keep_from_aborting()
    return module


def test_a_context_is_not_tried_again_once_there_was_no_opengl(mujoco: Any) -> None:
    """The next one, though it would do, is refused in the words of the first."""
    for failure in (mujoco.FatalError("no OpenGL"), None):
        with pytest.raises(mujoco.FatalError, match="no OpenGL"):
            mujoco.MjrContext(failure)


def test_a_context_that_fails_for_its_arguments_does_not_concern_the_next(mujoco: Any) -> None:
    """Another error than MuJoCo's own, and one after OpenGL was found, are raised once."""
    with pytest.raises(TypeError, match="no model"):
        mujoco.MjrContext(TypeError("no model"))
    mujoco.MjrContext()
    with pytest.raises(mujoco.FatalError, match="too large"):
        mujoco.MjrContext(mujoco.FatalError("too large"))
    mujoco.MjrContext()
