"""The frame that comes with a step: where it is asked for in MessagePack, and never at the price of the step."""

from __future__ import annotations

import io
import re
from typing import Any

import ale_py
import gymnasium
import msgpack
import numpy as np
import pytest
from PIL import Image

from gym_http_server.client import Client, RemoteEnv
from gym_http_server.errors import EnvironmentResultError, RenderFormatError
from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.served.base import Served
from gym_http_server.runtime.served.opening import open_served
from tests.conftest import KINDS, start
from tests.support.serving import Server

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


def rendered(server: Server, env: str) -> Any:
    """Return the frame that renderEnv answers in MessagePack."""
    answer = server.get(f"{env}/render/", headers={"Accept": "application/msgpack"})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/msgpack")
    return msgpack.unpackb(answer.body)["frame"]


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
        np.testing.assert_array_equal(frame, pixels(rendered(server, env)))
    local.close()


def test_a_text_comes_as_a_text(server: Server) -> None:
    """The frame of render mode `ansi` is what renderEnv answers as text/plain."""
    env = server.create("FrozenLake-v1", render_mode="ansi")
    server.post(f"{env}/reset/")
    frame = step(server, env, {"action": 0, "render": True})["frame"]
    assert frame == server.get(f"{env}/render/", headers={"Accept": "text/plain"}).body.decode()
    assert frame == rendered(server, env)


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
    assert "no render mode" in reply["frame_error"]
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


class Painter(gymnasium.Env[Any, Any]):
    """Each action shows the next of its frames, arrays of any type."""

    metadata = {"render_modes": ["rgb_array", "depth_array"]}  # noqa: RUF012 -- Gymnasium's convention
    observation_space = action_space = gymnasium.spaces.Discrete(8)

    def __init__(self, render_mode: str | None, frames: list[np.ndarray]) -> None:
        self.render_mode, self.frames, self.shown = render_mode, frames, -1

    def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
        return 0, {}

    def step(self, _: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.shown += 1
        return 0, 0.0, False, False, {}

    def render(self) -> Any:
        return self.frames[self.shown]


def painting(monkeypatch: pytest.MonkeyPatch, frames: list[Any], mode: str = "rgb_array") -> Served:
    spec = gymnasium.envs.registration.EnvSpec(
        "Painter-v0", entry_point=lambda render_mode=None: Painter(render_mode, frames), order_enforce=False
    )
    monkeypatch.setitem(gymnasium.registry, "Painter-v0", spec)
    return open_served(CreateRequest("Painter-v0", render_mode=mode))


def shown(monkeypatch: pytest.MonkeyPatch, frames: list[np.ndarray], mode: str = "rgb_array") -> list[np.ndarray]:
    """Return frames as steps bring them, and assert that renderEnv's pictures are the same."""
    env = painting(monkeypatch, frames, mode)
    env.call("reset", {})
    steps = []
    for _ in frames:
        reply = msgpack.unpackb(env.call("step", {"action": 0, "render": True, "media_type": MSGPACK}).body)
        steps.append(pixels(reply["frame"]))
        picture = Image.open(io.BytesIO(env.call("render", {"media_types": ["image/png"]}).body))
        np.testing.assert_array_equal(np.asarray(picture), steps[-1])
    return steps


DARK, BRIGHT = np.full((4, 6, 3), 7), np.full((4, 6, 3), 200)
DARK[0], BRIGHT[0] = 3, 100


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32", "int64", "float16", "float32", "float64"])
def test_a_frame_of_numbers_up_to_255_is_shown_as_it_is(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """Whatever the type, and the same whether a frame is dark or bright."""
    frames = [DARK, BRIGHT // 2 if dtype == "int8" else BRIGHT, DARK]
    for seen, meant in zip(shown(monkeypatch, [each.astype(dtype) for each in frames]), frames, strict=True):
        np.testing.assert_array_equal(seen, meant)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_frame_of_fractions_is_shown_in_parts_of_white(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """0 is black and 1 is white, also where a frame has neither."""
    frames = [(each / 255).astype(dtype) for each in (DARK, BRIGHT, DARK * 0, DARK * 0 + 255)]
    for seen, meant in zip(shown(monkeypatch, frames), (DARK, BRIGHT, DARK * 0, DARK * 0 + 255), strict=True):
        np.testing.assert_array_equal(seen, meant)


@pytest.mark.parametrize(
    ("mode", "frame", "meant"),
    [
        pytest.param("rgb_array", DARK > 5, (DARK > 5) * 255, id="booleans"),
        pytest.param("rgb_array", DARK < 255, DARK * 0 + 255, id="true"),
        pytest.param("rgb_array", np.full((4, 6, 3), 99.6), np.full((4, 6, 3), 100), id="rounded"),
        pytest.param("rgb_array", np.where(DARK > 5, DARK, np.nan), np.where(DARK > 5, DARK, 0), id="not finite"),
        pytest.param("rgb_array", DARK[:, :, 0] / 255, DARK[:, :, 0], id="grey"),
        pytest.param("rgb_array", DARK * 1000, (DARK > 3) * 255, id="beyond 255"),
        pytest.param("rgb_array", DARK - 4, (DARK > 3) * 255, id="below 0"),
        pytest.param("depth_array", DARK[:, :, 0] / 10, (DARK[:, :, 0] > 3) * 255, id="depth below 1"),
        pytest.param("depth_array", DARK[:, :, 0], (DARK[:, :, 0] > 3) * 255, id="depth in whole numbers"),
    ],
)
def test_a_frame_of_another_type_is_shown_as_it_is_meant(
    monkeypatch: pytest.MonkeyPatch, mode: str, frame: np.ndarray, meant: np.ndarray
) -> None:
    """Booleans are black and white, real numbers rounded, and only depth and what fits no byte is stretched to its range."""
    (seen,) = shown(monkeypatch, [frame], mode)
    np.testing.assert_array_equal(seen, meant)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (True, "bool True"),
        (7, "int 7"),
        (np.float32(0.5), "float32 np.float32(0.5)"),
        (b"text", "bytes b'text'"),
        ({"rgb": DARK}, "dict {'rgb'"),
        ([True, False], r"list [True, False]"),
        ([[[1, 2], [3]]], r"list [[1, 2], [3]]"),
        (np.arange(3), "an array of shape (3,) and type int64"),
        (DARK[:0], "an array of shape (0, 6, 3) and type int64"),
        (DARK * 1j, "an array of shape (4, 6, 3) and type complex128"),
        (np.full((4, 6), None), "an array of shape (4, 6) and type object"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_frame_is_said_in_words(monkeypatch: pytest.MonkeyPatch, frame: Any, words: str) -> None:
    """It is served as no other value, in no form, and costs no step; None is no frame without more words."""
    env = painting(monkeypatch, [frame, None])
    env.call("reset", {})
    reply = msgpack.unpackb(env.call("step", {"action": 0, "render": True, "media_type": MSGPACK}).body)
    assert (reply["frame"], reply["observation"]) == (None, 0)
    assert f"gave no frame but {words}" in reply["frame_error"]
    for media_type in ("image/png", MSGPACK):
        with pytest.raises(EnvironmentResultError, match=re.escape(words)):
            env.call("render", {"media_types": [media_type]})
    reply = msgpack.unpackb(env.call("step", {"action": 0, "render": True, "media_type": MSGPACK}).body)
    assert reply["frame_error"] == "render mode 'rgb_array' gave no frame"


def test_a_frame_that_is_no_picture_comes_in_messagepack(monkeypatch: pytest.MonkeyPatch) -> None:
    """An array of four axes, or of more channels than a picture has; the error for a picture says so."""
    frame = np.zeros((2, 4, 6, 3), np.uint8)
    env = painting(monkeypatch, [frame, frame[0, :, :, [0] * 5]])
    env.call("reset", {})
    for _ in range(2):
        reply = msgpack.unpackb(env.call("step", {"action": 0, "render": True, "media_type": MSGPACK}).body)
        assert env.call("render", {"media_types": ["image/png", MSGPACK]}).body.endswith(reply["frame"]["data"])
        with pytest.raises(RenderFormatError, match=r"of shape \(.*is no picture and comes as application/msgpack"):
            env.call("render", {"media_types": ["image/png"]})


@pytest.mark.parametrize("kind", KINDS)
def test_a_frame_over_the_limit_of_replies_does_not_cost_the_step(kind: str) -> None:
    """`frame_error` names --max-reply beside all of the step; a reply that is too large without its frame is a 413."""
    with start(kind, "--max-reply", "10000") as server:
        env = server.create("CartPole-v1")
        server.post(f"{env}/reset/")
        reply = step(server, env, {"action": 0, "render": True})
        assert reply["frame"] is None
        assert re.fullmatch(
            r"with its frame the reply has 72\d{4} bytes and the limit is 10000: start .* a larger --max-reply",
            reply["frame_error"],
        )
        assert pixels(reply["observation"]).shape == (4,)
        assert server.get(f"{env}/").json["steps"] == 1
        env = server.create("tests/Troublemaker-v0")
        server.post(f"{env}/reset/")
        body = {"action": "big 20000", "render": True}
        answer = server.post(f"{env}/step/", body, headers={"Accept": MSGPACK})
        assert answer.status == 413
        assert "--max-reply" in answer.message
        assert pixels(step(server, env, {"action": "", "render": True})["frame"]).shape == (4, 6, 3)


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


def test_a_frame_comes_with_its_step_up_to_the_very_limit() -> None:
    """A byte less, and the step is answered without it and says why."""

    def stepped(limit: int | None) -> tuple[int, Any]:
        served = open_served(CreateRequest("CartPole-v1", seed=1))
        served.call("reset", {})
        reply = served.call("step", {"action": 1, "media_type": "application/msgpack", "render": True, "limit": limit})
        served.close()
        return len(reply.body), msgpack.unpackb(reply.body)

    size, whole = stepped(None)
    assert stepped(size) == (size, whole)
    _, without = stepped(size - 1)
    assert without["frame"] is None
    assert str(size - 1) in without["frame_error"]
    assert without["observation"] == whole["observation"]
