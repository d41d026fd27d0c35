"""The frame that comes with a step: where it is asked for in MessagePack, and never at the price of the step."""

from __future__ import annotations

import io
from typing import Any

import ale_py
import gymnasium
import msgpack
import numpy as np
import pytest
from PIL import Image

from gym_http_server.client import Client, RemoteEnv

from .serving import Server

MSGPACK = "application/msgpack"

gymnasium.register_envs(ale_py)


def url(server: Server) -> str:
    return "http://{}:{}".format(*server.address)


def step(server: Server, env: str, body: dict[str, Any], accept: str | None = MSGPACK) -> Any:
    headers = {"Accept": accept} if accept else {}
    answer = server.post(f"{env}/step/", body, headers=headers)
    assert answer.status == 200, answer.body
    return msgpack.unpackb(answer.body) if accept == MSGPACK else answer.json


def pixels(packed: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(packed["data"], packed["dtype"]).reshape(packed["shape"])


@pytest.mark.parametrize("env_id", ["CartPole-v1", "ALE/Pong-v5"])
def test_a_step_in_messagepack_brings_the_frame_that_render_gives(server: Server, env_id: str) -> None:
    """It is an array of uint8, of shape (height, width, 3), the same as the picture of renderEnv and of a local twin."""
    env = server.create(env_id, seed=3)
    local = gymnasium.make(env_id, render_mode="rgb_array")
    local.reset(seed=3)
    server.post(f"{env}/reset/")
    for action in (0, 1, 0):
        frame = pixels(step(server, env, {"action": action, "render": True})["frame"])
        local.step(action)
        picture = np.asarray(Image.open(io.BytesIO(server.get(f"{env}/render/").body)))
        assert (frame.dtype, frame.ndim, frame.shape[2]) == (np.uint8, 3, 3)
        np.testing.assert_array_equal(frame, picture)
        np.testing.assert_array_equal(frame, local.render())
    local.close()


def test_a_text_comes_as_a_text(server: Server) -> None:
    """The frame of render mode `ansi` is what renderEnv answers as text/plain."""
    env = server.create("FrozenLake-v1", render_mode="ansi")
    server.post(f"{env}/reset/")
    frame = step(server, env, {"action": 0, "render": True})["frame"]
    assert frame == server.get(f"{env}/render/", headers={"Accept": "text/plain"}).body.decode()


@pytest.mark.parametrize(
    ("body", "accept"),
    [
        ({"action": 0}, MSGPACK),
        ({"action": 0, "render": False}, MSGPACK),
        ({"action": 0, "render": None}, MSGPACK),
        ({"action": 0, "render": True}, None),
        ({"action": 0, "render": True}, "application/json"),
        ({"action": 0, "render": True}, "application/json, application/msgpack"),
    ],
)
def test_no_frame_comes_unasked_or_in_json(server: Server, body: dict[str, Any], accept: str | None) -> None:
    """The members are those that old clients know, and nothing is rendered."""
    env = server.create("CartPole-v1")
    server.post(f"{env}/reset/")
    assert set(step(server, env, body, accept)) == {
        "observation", "reward", "done", "terminated", "truncated", "info",
    }  # fmt: skip


def test_an_instance_without_frames_says_why_and_takes_the_step(server: Server) -> None:
    """`frame` is null, `frame_error` has the reason, and the step counts."""
    env = server.create("tests/Scribe-v0")
    server.post(f"{env}/reset/")
    assert server.get(f"{env}/").json["render_mode"] is None
    reply = step(server, env, {"action": [0.0, 0.0], "render": True})
    assert reply["frame"] is None
    assert "render_mode" in reply["frame_error"]
    assert server.get(f"{env}/").json["steps"] == 1


def test_a_render_that_raises_does_not_cost_the_step(server: Server) -> None:
    """The reply has all of the step, and in the frame's place what the environment raised."""
    env = server.create("tests/Unpaintable-v0")
    server.post(f"{env}/reset/")
    reply = step(server, env, {"action": "x", "render": True})
    assert reply["frame"] is None
    assert "no paint" in reply["frame_error"]
    assert reply["reward"] is not None
    assert server.get(f"{env}/").json["steps"] == 1


def test_a_frame_is_within_the_limit_of_replies() -> None:
    """A frame over --max-reply is a 413 that names it, as any other reply."""
    with Server("--max-reply", "10000") as server:
        env = server.create("CartPole-v1")
        server.post(f"{env}/reset/")
        answer = server.post(f"{env}/step/", {"action": 0, "render": True}, headers={"Accept": MSGPACK})
        assert answer.status == 413
        assert "--max-reply" in answer.message


def test_the_python_client_gets_the_frame_as_an_array(server: Server) -> None:
    """`step_env` with `render` of a packed client; one that is not packed gets none."""
    with Client(url(server), packed=True) as client, Client(url(server)) as plain:
        env = client.create_env("CartPole-v1")["instance_id"]
        client.reset_env(env)
        frame = client.step_env(env, 0, render=True)["frame"]
        assert (frame.dtype, frame.shape) == (np.uint8, (400, 600, 3))
        assert "frame" not in plain.step_env(env, 0, render=True)


def test_a_remote_environment_needs_one_request_a_step_and_its_frame(server: Server) -> None:
    """With `frames` its render after a step asks the server nothing, and shows what it shows without."""
    eager = RemoteEnv(url(server), "CartPole-v1", seed=5, frames=True)
    plain = RemoteEnv(url(server), "CartPole-v1", seed=5)
    for env in (eager, plain):
        env.reset()
    np.testing.assert_array_equal(eager.render(), plain.render())
    asked: list[str] = []
    render = eager._client.render_env
    eager._client.render_env = lambda *arguments: (asked.append("render"), render(*arguments))[1]  # type: ignore[method-assign]
    for action in (1, 0):
        eager.step(action), plain.step(action)
        frame = eager.render()
        np.testing.assert_array_equal(frame, plain.render())
        frame[:] = 0  # it is the caller's
        np.testing.assert_array_equal(eager.render(), plain.render())
    assert asked == []
    eager.reset(seed=1), plain.reset(seed=1)
    np.testing.assert_array_equal(eager.render(), plain.render())
    assert asked == ["render"]
    eager.close(), plain.close()


@pytest.mark.parametrize("env_id", ["CartPole-v1", "ALE/Pong-v5"])
def test_a_frame_of_before_a_restoration_is_not_shown_after_it(server: Server, env_id: str) -> None:
    """With `frames` too, `render` after `restore` shows the state that was restored."""
    with RemoteEnv(url(server), env_id, frames=True, seed=1) as env:
        env.reset()
        for _ in range(20):
            env.step(1)
        saved, snapshot_id = env.render(), env.snapshot()
        for _ in range(20):
            env.step(0)
        assert not np.array_equal(env.render(), saved)
        env.restore(snapshot_id)
        np.testing.assert_array_equal(env.render(), saved)


def test_frames_of_texts_come_along_too(server: Server) -> None:
    """A remote environment of render mode `ansi` renders the text that came with its step."""
    env = RemoteEnv(url(server), "FrozenLake-v1", render_mode="ansi", frames=True)
    env.reset(seed=0)
    env.step(1)
    assert isinstance(env._frame, str)
    assert env.render() == env._frame
    env.close()


def test_frames_need_messagepack() -> None:
    """Asked for without it they are refused before anything is made."""
    with pytest.raises(ValueError, match="packed"):
        RemoteEnv("http://127.0.0.1:9", "CartPole-v1", packed=False, frames=True)
