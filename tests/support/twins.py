"""Clients whose environments nobody disturbs: what they see must be what a twin in the tests' own process sees."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import gymnasium
import numpy as np

from gym_http_server.client import Client
from gym_http_server.results.recording import load_results

from .serving import Server, eventually

LANES: Final = 4
PAUSE_SECONDS: Final = 0.002
"""Between two steps of a twin: it leaves the machine to what is tested."""
SEEDS: Final = itertools.count(1)


class Twin(threading.Thread):
    """Plays episodes on a server and in this process, and compares each step, until it is told to stop.

    Args:
        server: the server.
        env_id: what to play; the same id is made here.
        options: further arguments of createEnv.

    Attributes:
        steps: how many were compared.
        error: why it ended before it was told to.
    """

    def __init__(self, server: Server, env_id: str, **options: Any) -> None:
        super().__init__(name=f"twin in {env_id}")
        self._client = Client(server.url, timeout=60, packed=True, api_key=getattr(server, "key", None) or None)
        self._seed = next(SEEDS)
        self._lanes = options.get("num_envs")
        self._local: Any = (
            gymnasium.make(env_id)
            if self._lanes is None
            else gymnasium.make_vec(env_id, num_envs=self._lanes, vectorization_mode="sync")
        )
        if self._lanes is not None:
            options["vectorization_mode"] = "sync"
        self.instance_id = self._client.create_env(env_id, **options)["instance_id"]
        self._is_over = threading.Event()
        self.steps = 0
        self.returns: list[float] = []
        self.error: BaseException | None = None

    def record(self, directory: Path) -> None:
        """Have the server record the episodes; `check_recording` compares them."""
        self._client.start_monitor(self.instance_id, str(directory))

    def run(self) -> None:
        try:
            while not self._is_over.is_set():
                self._play(self._seed, 100)
                self._seed += 1
        except BaseException as error:  # noqa: BLE001 -- for the thread that asks
            self.error = error

    def stop(self) -> None:
        """End it, and close what it has."""
        self._is_over.set()
        if self.ident is not None:
            self.join(120)
        self._local.close()
        self._client.close_env(self.instance_id)
        self._client.close()

    def check(self) -> None:
        """Assert that it goes on and has seen no difference."""
        check([self])

    def check_recording(self, directory: Path) -> None:
        """Assert that just the episodes that were played are recorded; after `stop`."""
        assert load_results(directory)["episode_rewards"] == self.returns

    def _play(self, seed: int, steps: int) -> None:
        if self._lanes is not None:
            self._play_batch(seed, steps)
            return
        chance = np.random.default_rng(seed)
        space = self._local.action_space
        space.seed(seed)
        reply = self._client.reset_env(self.instance_id, seed=seed)
        observation, _ = self._local.reset(seed=seed)
        np.testing.assert_array_equal(reply["observation"], observation)
        total = 0.0
        for _ in range(steps):
            action = space.sample()
            reply = self._client.step_env(self.instance_id, action)
            observation, reward, terminated, truncated, _ = self._local.step(action)
            np.testing.assert_array_equal(reply["observation"], observation)
            assert (reply["reward"], reply["terminated"], reply["truncated"]) == (reward, terminated, truncated)
            total += float(reward)
            self._count_step()
            if terminated or truncated:
                self.returns.append(total)
                total = 0.0
                again = int(chance.integers(1 << 30))
                reply = self._client.reset_env(self.instance_id, seed=again)
                np.testing.assert_array_equal(reply["observation"], self._local.reset(seed=again)[0])

    def _count_step(self) -> None:
        self.steps += 1
        self._is_over.wait(PAUSE_SECONDS)

    def _play_batch(self, seed: int, steps: int) -> None:
        self._local.action_space.seed(seed)
        reply = self._client.reset_batch(self.instance_id, seed=seed)
        np.testing.assert_array_equal(reply["observations"], self._local.reset(seed=seed)[0])
        for _ in range(steps):
            actions = self._local.action_space.sample()
            reply = self._client.step_batch(self.instance_id, actions)
            observations, rewards, terminated, truncated, _ = self._local.step(actions)
            np.testing.assert_array_equal(reply["observations"], observations)
            np.testing.assert_array_equal(reply["rewards"], rewards)
            np.testing.assert_array_equal(reply["terminated"], terminated)
            np.testing.assert_array_equal(reply["truncated"], truncated)
            self._count_step()


def twins(server: Server) -> Iterator[Twin]:
    """Yield twins of single environments and of a batch, not yet started."""
    yield Twin(server, "CartPole-v1")
    yield Twin(server, "Acrobot-v1")
    yield Twin(server, "FrozenLake-v1")
    yield Twin(server, "CartPole-v1", num_envs=LANES)


def check(playing: Sequence[Twin]) -> None:
    """Assert that all of them go on and have seen no difference."""
    before = [each.steps for each in playing]
    for each, steps in zip(playing, before, strict=True):
        eventually(lambda each=each, steps=steps: each.error is not None or each.steps > steps + 20, 60)
        assert each.error is None, (each.name, each.error)
