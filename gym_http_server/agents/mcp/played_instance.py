"""An instance that a model plays: its episode, and its replies in words and as structured content."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final

from ...api.problems import HttpProblem
from ...errors import GymHttpServerError, InvalidActionError, ResetNeededError, UnknownSnapshotError
from ..schemas import value_of
from ..words import episode_in_words, reward_in_words, value_in_words
from .outcome import PNG, Frame, Outcome, kept

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from .environment import PlayedEnvironment
    from .session import Session
    from .step_budget import StepBudget

MAX_INFO_CHARS: Final = 500
"""Characters after which what an environment tells beside an observation is left out of the text."""


class Episode:
    """The episode that an instance is in.

    Attributes:
        steps: steps taken in it.
        total: sum of its rewards; None where they are not numbers.
        terminated: it has come to its end.
        truncated: it was cut off.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.total: float | None = 0.0
        self.terminated = self.truncated = False

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.terminated or self.truncated

    def count(self, reply: Mapping[str, Any]) -> None:
        """Note the reply to a step."""
        self.steps += 1
        reward = reply.get("reward")
        self.total = None if reward is None or self.total is None else self.total + reward
        self.terminated, self.truncated = reply["terminated"], reply["truncated"]

    def copy(self) -> Episode:
        """Return another like it."""
        copied = Episode()
        copied.__dict__.update(self.__dict__)
        return copied


class PlayedInstance:
    """An instance of a session.

    Args:
        session: the session.
        instance_id: the instance.
        environment: what it is.
        budget: the steps of the session.

    Attributes:
        instance_id: its id.
        environment: what it is.
    """

    def __init__(self, session: Session, instance_id: str, environment: PlayedEnvironment, budget: StepBudget) -> None:
        self.instance_id = instance_id
        self.environment = environment
        self._session = session
        self._budget = budget
        self._turn = asyncio.Lock()
        self._steps: set[asyncio.Task[Any]] = set()
        self._episode: Episode | None = None
        self._saved: dict[str, Episode | None] = {}

    async def reset(self, arguments: Mapping[str, Any]) -> Outcome:
        """Start an episode."""
        body = {name: arguments[name] for name in ("seed", "options") if name in arguments}
        async with self._turn:
            reply = await self._whole(self._reset(body))
        changed = self._adopted(reply)
        told = {"info": reply["info"], **self._told(reply["observation"]), **changed}
        text = f"New episode: {self._seen(reply['observation'])}{_told_info(reply['info'])}{_told_space(changed)}"
        return Outcome(text, told)

    async def step(self, actions: Sequence[Any]) -> Outcome:
        """Take actions, at least one, until the episode ends or no step is left."""
        async with self._turn:
            self._check_episode()
            taken: list[dict[str, Any]] = []
            lines: list[str] = []
            reply: dict[str, Any] = {}
            changed: dict[str, Any] = {}
            problem = ""
            for asked in actions:
                space, meanings = self.environment.action_space, self.environment.names.meanings
                try:
                    action = value_of(space, asked, meanings)
                    reply = await self._whole(self._step(action))
                except (GymHttpServerError, HttpProblem) as error:
                    if not taken:
                        raise
                    problem = error.detail
                    break
                reward = reply.get("rewards", reply["reward"])
                changed = self._adopted(reply) or changed
                row = {"action": action, "reward": reward}
                if len(actions) > 1:
                    row["observation"] = kept(reply["observation"])
                taken.append(row)
                acted = value_in_words(space, action, self.environment.names.action, meanings)
                seen = f"{self._seen(reply['observation'])}; {reward_in_words(reward)}"
                lines.append(f"{len(taken)}. {acted}: {seen}" if len(actions) > 1 else seen)
                if self._episode is None or self._episode.is_over or self._budget.left == 0:
                    break
        return self._stepped(actions, taken, lines, reply, changed, problem)

    def _stepped(
        self,
        actions: Sequence[Any],
        taken: list[dict[str, Any]],
        lines: list[str],
        reply: Mapping[str, Any],
        changed: Mapping[str, Any],
        problem: str,
    ) -> Outcome:
        if len(actions) == 1:
            text = f"{lines[0]}; {self._goes()}"
        else:
            text = "\n".join((f"{len(taken)} of {len(actions)} actions taken:", *lines, self._goes()))
        text += f"{_told_info(reply['info'])}{_told_space(changed)}"
        if problem:
            return Outcome(f"{text}\nThe next action failed: {problem}", is_error=True)
        told = {
            **self._told(reply["observation"]),
            "reward": taken[-1]["reward"],
            "terminated": reply["terminated"],
            "truncated": reply["truncated"],
            "info": reply["info"],
            "taken": taken,
            **changed,
        }
        return Outcome(text, told)

    async def observe(self) -> Outcome:
        """Return the latest observation."""
        live = await self._session.call("getLive", instance_id=self.instance_id)
        lane = live["lanes"][0]
        if lane["observation"] is None:
            raise ResetNeededError("there is no observation yet, because no episode has begun: call reset")
        reward = lane.get("rewards", lane["reward"])
        told = {
            "instance_id": self.instance_id,
            "observation": lane["observation"],
            "episode_steps": lane["length"],
            "total_reward": lane["return"],
            "reward": reward,
            "terminated": lane["terminated"],
            "truncated": lane["truncated"],
        }
        last = f"; last {reward_in_words(reward)}" if lane["length"] else ""
        goes = episode_in_words(
            lane["length"],
            self.environment.max_episode_steps,
            terminated=lane["terminated"],
            truncated=lane["truncated"],
            total=lane["return"],
        )
        return Outcome(f"{self._seen(lane['observation'])}{last}; {goes}", told)

    async def frame(self) -> Frame:
        """Return the current frame."""
        return Frame.of(
            await self._session.call("renderEnv", accept=f"{PNG}, text/plain", instance_id=self.instance_id)
        )

    async def snapshot(self) -> Outcome:
        """Save the state."""
        async with self._turn:
            made = await self._session.call("createSnapshot", instance_id=self.instance_id)
            self._saved[made["snapshot_id"]] = None if self._episode is None else self._episode.copy()
        text = f"Saved as snapshot {made['snapshot_id']}: restore goes back to it."
        return Outcome(text, {"instance_id": self.instance_id, "snapshot_id": made["snapshot_id"]})

    async def restore(self, snapshot_id: str) -> Outcome:
        """Go back to a saved state."""
        async with self._turn:
            if snapshot_id not in self._saved:
                known = ", ".join(self._saved) or "none: call snapshot first"
                raise UnknownSnapshotError(f"there is no snapshot {snapshot_id!r} of this instance; there is {known}")
            reply = await self._session.call("restoreSnapshot", instance_id=self.instance_id, snapshot_id=snapshot_id)
            saved = self._saved[snapshot_id]
            self._episode = None if saved is None else saved.copy()
        self._adopted(reply)
        return Outcome(
            f"Back at snapshot {snapshot_id}: {self._seen(reply['observation'])}; {self._goes()}",
            self._told(reply["observation"]),
        )

    def _check_episode(self) -> None:
        if self._episode is None:
            raise ResetNeededError("no episode has begun: call reset first")
        if self._episode.is_over:
            raise ResetNeededError("the episode is over: call reset to start the next one")

    async def _reset(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self._episode = None
        reply: dict[str, Any] = await self._session.call("resetEnv", body, instance_id=self.instance_id)
        self._episode = Episode()
        return reply

    async def _step(self, action: Any) -> dict[str, Any]:
        self._budget.take()
        try:
            reply: dict[str, Any] = await self._session.call(
                "stepEnv", {"action": action}, instance_id=self.instance_id
            )
        except (GymHttpServerError, HttpProblem) as error:
            self._budget.give_back()
            if isinstance(error, InvalidActionError):
                expected = self.environment.told_action_space()["description"]
                raise InvalidActionError(f"{error.detail}; expected {expected}") from None
            raise
        if self._episode is not None:
            self._episode.count(reply)
        return reply

    async def _whole(self, call: Awaitable[dict[str, Any]]) -> dict[str, Any]:
        """Await a call that goes on, and is counted, if the client cancels its request."""
        task = asyncio.ensure_future(call)
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)
        return await asyncio.shield(task)

    def _adopted(self, reply: Mapping[str, Any]) -> dict[str, Any]:
        return {"action_space": self.environment.told_action_space()} if self.environment.adopt(reply) else {}

    def _seen(self, observation: Any) -> str:
        space, names = self.environment.observation_space, self.environment.names.observation
        words = value_in_words(space, observation, names)
        is_clear = names or space["name"] in ("Dict", "Text") or words.startswith("an image")
        return words if is_clear else f"observation {words}"

    def _goes(self) -> str:
        episode = self._episode
        if episode is None:
            return "no episode has begun: call reset"
        told = episode_in_words(
            episode.steps,
            self.environment.max_episode_steps,
            terminated=episode.terminated,
            truncated=episode.truncated,
            total=episode.total,
        )
        return f"{told}; reset starts the next one" if episode.is_over else told

    def _told(self, observation: Any) -> dict[str, Any]:
        episode = self._episode or Episode()
        return {
            "instance_id": self.instance_id,
            "observation": kept(observation),
            "episode_steps": episode.steps,
            "total_reward": episode.total,
        }


def _told_info(info: Any) -> str:
    text = json.dumps(info) if info else ""
    return f"\nInfo: {text}" if 0 < len(text) <= MAX_INFO_CHARS else ""


def _told_space(changed: Mapping[str, Any]) -> str:
    return f"\nThe actions are now: {changed['action_space']['description']}." if changed else ""
