"""`Crowd`: clients that make, play and close environments without end, and hold every reply against what it has to be."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any, Self

import gymnasium
import numpy as np

from gym_http_server.client import Client, ServerConnectionError, ServerProblem

from ..support.serving import SECONDS, eventually

ENV_ID = "CartPole-v1"
EPISODE_STEPS = 12
SEEDS = 5
PROBLEMS = frozenset((410, 502, 503))
"""Statuses that a lost instance or a cluster without room is told by."""
UNDECIDED = frozenset((502, 503))
"""Those after which an instance may be there again, or be lost."""


def episode(seed: int) -> list[list[float]]:
    """Return the observations of an episode whose actions take turns."""
    with contextlib.closing(gymnasium.make(ENV_ID)) as env:
        first, _ = env.reset(seed=seed)
        return [first.tolist(), *(env.step(step % 2)[0].tolist() for step in range(EPISODE_STEPS))]


@dataclasses.dataclass
class Tally:
    """What a client has seen.

    Attributes:
        episodes: number of whole episodes.
        problems: status and message of each problem.
        broken: number of calls whose connection broke.
        wrong: replies that were not what they have to be.
        longest: seconds of the longest call.
    """

    episodes: int = 0
    problems: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    broken: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)
    longest: float = 0.0

    def time(self, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Make a call and take note of how long it takes, however it ends."""
        begun = time.monotonic()
        try:
            return call(*arguments, **options)
        finally:
            self.longest = max(self.longest, time.monotonic() - begun)

    def note(self, error: ServerProblem | OSError) -> None:
        """Take note of the end of a call."""
        if isinstance(error, ServerProblem):
            self.problems.append((error.status, error.message))
            if error.status not in PROBLEMS or not error.message:
                self.wrong.append(str(error))
        elif isinstance(error, ServerConnectionError):
            self.broken += 1
        else:
            self.wrong.append(str(error))


class Crowd:
    """Clients in threads; every other one calls its instances directly; `with Crowd(…) as crowd` ends them.

    Args:
        url: the router's address.
        clients: number of clients.
    """

    def __init__(self, url: str, clients: int) -> None:
        self._url = url
        self._expected = [episode(seed) for seed in range(SEEDS)]
        self._is_over = threading.Event()
        self.tallies = [Tally() for _ in range(clients)]
        self._threads = [threading.Thread(target=self._play, args=(number,)) for number in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(2 * SECONDS)
            assert not thread.is_alive()

    @property
    def longest(self) -> float:
        """Seconds of the longest call so far."""
        return max(tally.longest for tally in self.tallies)

    def problems(self) -> list[tuple[int, str]]:
        """Return all problems so far."""
        return [problem for tally in self.tallies for problem in tally.problems]

    def wrong(self) -> list[str]:
        """Return the replies that were not what they have to be."""
        return [reply for tally in self.tallies for reply in tally.wrong]

    def plays_on(self, episodes: int = 2) -> None:
        """Wait until each client has played so many further episodes."""
        before = [tally.episodes for tally in self.tallies]

        def is_further() -> bool:
            return all(tally.episodes >= so_far + episodes for tally, so_far in zip(self.tallies, before, strict=True))

        eventually(is_further, 2 * SECONDS)

    def _play(self, number: int) -> None:
        tally = self.tallies[number]
        with contextlib.closing(Client(self._url, timeout=SECONDS)) as client:
            if number % 2:
                client._note_place = lambda *_: None
            while not self._is_over.is_set():
                self._play_episode(client, number, tally)

    def _play_episode(self, client: Client, number: int, tally: Tally) -> None:
        seed = (number + tally.episodes) % SEEDS
        env, is_closing = "", False
        try:
            env = tally.time(client.create_env, ENV_ID, seed=seed)["instance_id"]
            observations = [tally.time(client.reset_env, env)["observation"]]
            played = (tally.time(client.step_env, env, step % 2) for step in range(EPISODE_STEPS))
            observations.extend(reply["observation"] for reply in played)
            is_closing = True
            tally.time(client.close_env, env)
        except (ServerProblem, OSError) as error:
            tally.note(error)
            if env and not is_closing:
                self._follow_up(client, env, tally)
        else:
            tally.episodes += 1
            if not np.array_equal(np.float32(observations), np.float32(self._expected[seed])):
                tally.wrong.append(f"{observations} for {self._expected[seed]}")

    def _follow_up(self, client: Client, env: str, tally: Tally) -> None:
        """Ask for the instance of a failed call until it is closed or known to be lost."""
        while not self._is_over.wait(0.1):
            try:
                tally.time(client.get_env, env)
                tally.time(client.close_env, env)
            except (ServerProblem, OSError) as error:
                tally.note(error)
                if isinstance(error, ServerProblem) and error.status not in UNDECIDED:
                    return
            else:
                return
