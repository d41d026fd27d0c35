"""getLive: what somebody who watches is told, without the agent noticing."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace
from typing import Any

import gymnasium
import msgpack
import numpy as np
import pytest

from gym_http_server.instances import shared_replies
from gym_http_server.instances.shared_replies import SharedReplies
from gym_http_server.runtime.messages import CreateRequest, Reply
from gym_http_server.runtime.served.opening import open_served
from gym_http_server.runtime.sharing.live import MAX_EPISODES, LatestEpisodes
from tests.support.serving import Server
from tests.support.twins import Twin


def live(server: Server, env: str, query: str = "") -> Any:
    answer = server.get(f"{env}/live/{query}")
    assert answer.status == 200, answer.body
    return answer.json


def test_a_viewer_sees_the_step_that_the_agent_took(server: Server) -> None:
    """Observation, action, reward, ends, return and length are those of the replies; a reset begins them anew."""
    env = server.create("CartPole-v1", seed=3)
    [lane] = live(server, env)["lanes"]
    assert (lane["observation"], lane["action"], lane["reward"]) == (None, None, None)
    observation = server.post(f"{env}/reset/").json["observation"]
    [lane] = live(server, env)["lanes"]
    assert (lane["observation"], lane["action"], lane["return"], lane["length"]) == (observation, None, 0.0, 0)
    steps = 0
    done = False
    while not done:
        reply = server.post(f"{env}/step/", {"action": 1}).json
        steps, done = steps + 1, reply["done"]
        [lane] = live(server, env)["lanes"]
        assert {
            name: lane[name] for name in ("observation", "reward", "terminated", "truncated")
        }.items() <= reply.items()
        assert (lane["action"], lane["return"], lane["length"]) == (1, float(steps), steps)
    told = live(server, env)
    assert (told["steps"], told["episodes"]) == (steps, 1)
    assert told["latest_episodes"] == [{"number": 1, "lane": 0, "return": float(steps), "length": steps}]
    assert live(server, env, "?after_episode=1")["latest_episodes"] == []
    packed = server.get(f"{env}/live/", headers={"Accept": "application/msgpack"})
    assert msgpack.unpackb(packed.body)["steps"] == steps


def test_a_viewer_sees_each_lane_of_a_batch(server: Server) -> None:
    """By lane, with returns that begin anew where the batch has reset a lane; `lane` asks for one."""
    env = server.create("CartPole-v1", num_envs=3, seed=1)
    server.post(f"{env}/batch/reset/")
    returns = np.zeros(3)
    ended = np.zeros(3, bool)
    episodes = []
    for _ in range(30):
        reply = server.post(f"{env}/batch/step/", {"actions": [1, 0, 1]}).json
        returns = np.where(ended, 0.0, returns + reply["rewards"])
        ended = np.array(reply["terminated"]) | reply["truncated"]
        episodes += [(int(lane), returns[lane]) for lane in np.flatnonzero(ended)]
    told = live(server, env)
    assert [lane["observation"] for lane in told["lanes"]] == reply["observations"]
    assert [lane["return"] for lane in told["lanes"]] == returns.tolist()
    assert [lane["length"] for lane in told["lanes"]] == returns.tolist()
    assert [lane["action"] for lane in told["lanes"]] == [1, 0, 1]
    assert [(each["lane"], each["return"]) for each in told["latest_episodes"]] == episodes
    assert len(episodes) > 4
    assert live(server, env, "?lane=2")["lanes"] == told["lanes"][2:]
    refused = server.get(f"{env}/live/?lane=3")
    assert refused.status == 400
    assert "lanes 0 to 2" in refused.json["detail"]


def test_a_version_tells_that_nothing_has_happened(server: Server) -> None:
    """It is another after each step, reset and restore, and the same after everything else."""
    env = server.create("CartPole-v1")
    server.post(f"{env}/reset/")
    server.post(f"{env}/step/", {"action": 0})
    snapshot = server.post(f"{env}/snapshots/").json["snapshot_id"]
    versions = [live(server, env)["version"]]
    server.get(f"{env}/render/")
    server.get(f"{env}/action_space/sample")
    assert live(server, env)["version"] == versions[0]
    for path, body in (
        ("step", {"action": 1}),
        ("reset", {}),
        (f"snapshots/{snapshot}/restore", {}),
        ("step", {"action": 1}),
    ):
        assert server.post(f"{env}/{path}/", body).status == 200
        versions.append(live(server, env)["version"])
    assert len(set(versions)) == 5


def test_a_restored_episode_goes_on_with_its_return(server: Server) -> None:
    """Return, length, action and reward of the current episode are those of the snapshot, for each lane."""
    for options, step in (({}, ("step", {"action": 1})), ({"num_envs": 2}, ("batch/step", {"actions": [1, 0]}))):
        env = server.create("CartPole-v1", **options)
        server.post(f"{env}/batch/reset/" if options else f"{env}/reset/")
        for _ in range(3):
            server.post(f"{env}/{step[0]}/", step[1])
        snapshot, before = server.post(f"{env}/snapshots/").json["snapshot_id"], live(server, env)["lanes"]
        for _ in range(2):
            for _ in range(4):
                server.post(f"{env}/{step[0]}/", step[1])
            assert live(server, env)["lanes"] != before
            server.post(f"{env}/snapshots/{snapshot}/restore/")
            assert live(server, env)["lanes"] == before


def test_large_values_come_as_summaries() -> None:
    """An array, list or text of more elements than the viewer wants is told by shape, type, extremes and mean."""

    class Large(gymnasium.Env):
        observation_space = gymnasium.spaces.Dict(
            {
                "picture": gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8),
                "few": gymnasium.spaces.Box(-1, 1, (2,), np.float32),
                "text": gymnasium.spaces.Text(50, min_length=50),
            }
        )
        action_space = gymnasium.spaces.Box(-1, 1, (20,), np.float32)

        def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
            picture = np.full((8, 8, 3), 7, np.uint8)
            picture[0, 0, 0] = 199
            return {"picture": picture, "few": np.zeros(2, np.float32), "text": "a" * 50}, {}

    gymnasium.register("Large-v0", Large)
    served = open_served(CreateRequest("Large-v0"))
    served.call("reset", {})
    [lane] = msgpack.unpackb(served.call("live", {"max_elements": 10, "media_type": "application/msgpack"}).body)[
        "lanes"
    ]
    picture = lane["observation"]["picture"]
    assert picture == {"summary_of": "array", "shape": [8, 8, 3], "dtype": "uint8", "min": 7, "max": 199, "mean": 8.0}
    assert lane["observation"]["few"]["shape"] == [2]
    assert "summary_of" not in lane["observation"]["few"]
    assert lane["observation"]["text"] == {"summary_of": "text", "shape": [50]}
    del gymnasium.registry["Large-v0"]


def test_only_the_latest_episodes_are_kept() -> None:
    """A curve needs no more, and a million episodes take no more memory."""
    episodes = LatestEpisodes()
    for number in range(MAX_EPISODES + 100):
        episodes.add(0, float(number), 1)
    told = episodes.after(0)
    assert (len(told), told[0]["number"], told[-1]["number"]) == (MAX_EPISODES, 101, MAX_EPISODES + 100)


def test_an_agent_does_not_notice_viewers(server: Server) -> None:
    """The trajectory is that of a twin that nobody watches, whatever is asked meanwhile."""
    server.get("/v1/health/")
    for options in ({}, {"num_envs": 4}):
        twin = Twin(server, "CartPole-v1", **options)
        twin.start()
        env = f"/v1/envs/{twin.instance_id}"
        seen = set()
        while len(seen) < 30 and twin.error is None:
            seen.add(live(server, env, "?max_age=0.001")["version"])
        twin.check()
        twin.stop()


def test_a_viewer_says_how_old_a_reply_may_be(server: Server) -> None:
    """With `max_age` a step within that time is not seen by the next viewer, in numbers and frames; without it is."""
    env = server.create("CartPole-v1", render_mode="rgb_array")
    server.post(f"{env}/reset/")

    def look(query: str) -> tuple[str, bytes]:
        return live(server, env, query)["version"], server.get(f"{env}/render/{query}").body

    first = look("?max_age=60")
    for _ in range(5):
        server.post(f"{env}/step/", {"action": 1})
    assert look("?max_age=60") == first
    version, frame = look("")
    assert version != first[0]
    assert frame != first[1]
    assert look("?max_age=0.000001") == (version, frame)


class Watched:
    """An instance that answers each call with its number."""

    def __init__(self) -> None:
        self.usage = SimpleNamespace(version="0.0")
        self.loss: str | None = None
        self.calls = 0
        self.free = asyncio.Event()
        self.free.set()

    async def call(self, _: str, arguments: Any) -> Reply:
        self.calls += 1
        number = self.calls
        await self.free.wait()
        if arguments.get("lane") == 9:
            raise LookupError("no such lane")
        return Reply(str(number).encode())


def test_viewers_share_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who ask meanwhile get one reply; later ones the same while it is young enough or nothing has happened."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(shared_replies, "time", SimpleNamespace(monotonic=lambda: clock.now))

    async def watch() -> None:
        shared, instance = SharedReplies(), Watched()

        async def ask(max_age: float = 0.1, **arguments: Any) -> bytes:
            return (await shared.of(instance, "live", arguments, max_age)).body  # type: ignore[arg-type]

        instance.free.clear()
        asking = [asyncio.create_task(ask()) for _ in range(20)]
        await asyncio.sleep(0)
        asking.pop().cancel()
        instance.free.set()
        assert await asyncio.gather(*asking) == [b"1"] * 19
        clock.now += 50
        assert await ask() == b"1"
        instance.usage.version = "1.0"
        assert await ask(60) == b"1"
        assert await ask() == b"2"
        assert await ask(lane=1) == b"3"
        assert await ask(0) == b"4"
        for _ in range(2):
            with pytest.raises(LookupError):
                await ask(lane=9)
        assert instance.calls == 6
        instance.loss = "it died"
        assert await ask() == b"7"

    asyncio.run(watch())


def test_several_rewards_are_told_by_component() -> None:
    """A step's `rewards` are told as its reply tells them, and a return of which no reward was one number is null."""

    class Several(gymnasium.Env):
        observation_space = action_space = gymnasium.spaces.Discrete(2)

        def reset(self, **_: Any) -> tuple[Any, dict[str, Any]]:
            return 0, {}

        def step(self, _: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
            return 1, np.array([1.0, -2.0]), True, False, {}

    gymnasium.register("Several-v0", Several, disable_env_checker=True)
    for request, reset, step in (
        (CreateRequest("Several-v0"), ("reset", {}), ("step", {"action": 1})),
        (CreateRequest("Several-v0", num_envs=2), ("batch_reset", {}), ("batch_step", {"actions": [1, 1]})),
    ):
        served = open_served(request)
        served.call(*reset)
        served.call(*step)
        told = msgpack.unpackb(served.call("live", {"media_type": "application/msgpack"}).body)
        for lane in told["lanes"]:
            assert lane["reward"] is None
            assert np.frombuffer(lane["rewards"]["data"]).tolist() == [1.0, -2.0]
        assert [each["return"] for each in told["latest_episodes"]] == [None] * len(told["lanes"])
        assert not any(math.isnan(lane["return"]) for lane in told["lanes"])
    del gymnasium.registry["Several-v0"]


def test_a_lost_instance_tells_its_last_words(process_server: Server) -> None:
    """Who watches gets the 410 that everybody gets, however old a reply may be."""
    env = process_server.create("tests/Troublemaker-v0")
    process_server.post(f"{env}/reset/")
    assert live(process_server, env, "?max_age=60")["steps"] == 0
    process_server.post(f"{env}/step/", {"action": "exit 3"})
    answer = process_server.get(f"{env}/live/?max_age=60")
    assert answer.status == 410
    assert "is lost: " in answer.json["detail"]
