"""A player: what the tools do in one session of a model."""

from __future__ import annotations

import contextlib
import logging
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final

import jsonschema_rs
import orjson

from ...api.problems import HttpProblem, problem_of
from ...errors import (
    CallTimeoutError,
    EnvironmentDiedError,
    GymHttpServerError,
    InstanceLostError,
    InvalidValueError,
    UnknownInstanceError,
)
from .catalog import PAGE_SIZE, catalog
from .environment import environment_of
from .outcome import PNG, Outcome
from .played_instance import PlayedInstance
from .step_budget import StepBudget

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from .catalog import Tool
    from .environment import PlayedEnvironment
    from .rules import Rules
    from .session import Session

logger = logging.getLogger(__name__)

_ENDED: Final = (EnvironmentDiedError, CallTimeoutError, InstanceLostError, UnknownInstanceError)
"""Errors after which an instance is of no more use."""

MAX_CLOSED_IDS: Final = 1000
"""Most ids of closed instances that a session remembers, so that a second close is no error."""


INSTRUCTIONS: Final = (
    "Environments of Gymnasium and Gym to act in. Find one with list_environments, make it with create, start an episode with "
    "reset, and take actions with step until the episode ends; the aim is a high sum of rewards. render shows the current frame. "
    "Close what you no longer need."
)


class UnknownToolError(LookupError):
    """There is no tool of that name."""


class Player:
    """The tools of one session.

    Args:
        session: owns the instances.
        rules: what the session may do.
        tools: the tools; None for all under these rules.

    Attributes:
        instructions: how to use the tools, for the model.
        tools: the tools, by name.
    """

    _HOW_TO_BEGIN: ClassVar = "make one with create"
    _HOW_TO_GO_ON: ClassVar = "create makes another"

    def __init__(self, session: Session, rules: Rules, tools: Iterable[Tool] | None = None) -> None:
        self.instructions = INSTRUCTIONS
        self.tools: Mapping[str, Tool] = {tool.name: tool for tool in tools or catalog(rules)}
        self._session = session
        self._rules = rules
        self._instances: dict[str, PlayedInstance] = {}
        self._closed: dict[str, None] = {}
        self._budget = StepBudget(rules.max_steps)
        self._began = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{session.session_id[:8]}"
        self._checks = {name: jsonschema_rs.validator_for(tool.takes) for name, tool in self.tools.items()}

    async def use(self, name: str, arguments: Mapping[str, Any]) -> Outcome:
        """Use a tool; what goes wrong is its outcome, too.

        Raises:
            UnknownToolError: there is no tool of that name.
        """
        if name not in self.tools:
            raise UnknownToolError(f"there is no tool {name!r}: there are {', '.join(self.tools)}")
        given = {key: value for key, value in arguments.items() if value is not None}
        use: Callable[[Mapping[str, Any]], Awaitable[Outcome]] = getattr(self, f"_{name}")
        try:
            self._check(name, given)
            return await use(given)
        except (GymHttpServerError, HttpProblem) as error:
            return Outcome(error.detail, is_error=True)
        except Exception as error:  # noqa: BLE001 -- a defect, which is logged and told like one of an operation
            return Outcome(orjson.loads(problem_of(error).body)["detail"], is_error=True)

    async def end(self, why: str) -> None:
        """End the session and close its instances. The reason is for the log."""
        await self._session.end(why)

    def _check(self, name: str, given: Mapping[str, Any]) -> None:
        for error in self._checks[name].iter_errors(given):
            where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
            names = ", ".join(self.tools[name].takes["properties"])
            raise InvalidValueError(f"{name}{where}: {error.message}; it takes {names}")

    # The tools

    async def _list_environments(self, given: Mapping[str, Any]) -> Outcome:
        words, page = given.get("search", ""), given.get("page", 1)
        found = await self._session.call("listRegistry", q=words, page=page, page_size=PAGE_SIZE)
        rows = [
            {
                "env_id": row["env_id"],
                "library": row["library"],
                "can_be_made": row["installed"],
                "needs": row["missing_package"] or row["reason"],
            }
            for row in found["environments"]
        ]
        pages = -(-found["total"] // PAGE_SIZE)
        lines = [
            f"{row['env_id']} ({row['library']})"
            if row["can_be_made"]
            else f"{row['env_id']}: cannot be made here, needs {row['needs']}"
            for row in rows
        ]
        about = f" whose ids have {words!r}" if words else ""
        head = (
            f"{found['total']} environments{about}, page {page} of {pages}:"
            if rows
            else f"There are no environments{about}."
        )
        text = "\n".join((head, *lines))
        return Outcome(text, {"environments": rows, "total": found["total"], "page": page, "pages": pages})

    async def _describe_environment(self, given: Mapping[str, Any]) -> Outcome:
        made = await self._session.create(dict(given))
        try:
            environment = await environment_of(self._session, made["instance_id"])
        finally:
            await self._session.close(made["instance_id"])
        return described(environment)

    async def _create(self, given: Mapping[str, Any]) -> Outcome:
        self._budget.check()
        made = await self._make(given)
        told = {"instance_id": made.instance_id, **made.environment.told(), "steps_left": self._budget.left}
        text = f"Made {told['env_id']} as instance {made.instance_id}; reset starts an episode.\n{made.environment.in_words()}"
        return Outcome(text + self._budget.in_words, told)

    async def _make(self, body: Mapping[str, Any]) -> PlayedInstance:
        made = await self._session.create(dict(body))
        instance_id = made["instance_id"]
        try:
            environment = await environment_of(self._session, instance_id)
            if self._rules.record:
                await self._record(instance_id, made["env_id"])
        except BaseException:
            await self._session.close(instance_id)
            raise
        instance = self._instances[instance_id] = PlayedInstance(self._session, instance_id, environment, self._budget)
        return instance

    async def _reset(self, given: Mapping[str, Any]) -> Outcome:
        self._budget.check()
        return await self._played(given, lambda instance: instance.reset(given))

    async def _step(self, given: Mapping[str, Any]) -> Outcome:
        if ("action" in given) == ("actions" in given):
            raise InvalidValueError("step takes either action or actions: give one of them")
        actions = given["actions"] if "actions" in given else [given["action"]]

        async def step(instance: PlayedInstance) -> Outcome:
            self._budget.check()
            return await instance.step(actions)

        return await self._played(given, step)

    async def _observe(self, given: Mapping[str, Any]) -> Outcome:
        return await self._played(given, lambda instance: instance.observe())

    async def _render(self, given: Mapping[str, Any]) -> Outcome:
        async def render(instance: PlayedInstance) -> Outcome:
            frame = await instance.frame()
            told = {"instance_id": instance.instance_id, "media_type": PNG, "text": None}
            if frame.image:
                return Outcome("The current frame:", told, frame)
            return Outcome("The current frame:", told | {"media_type": "text/plain", "text": frame.text}, frame)

        return await self._on(given, render)

    async def _snapshot(self, given: Mapping[str, Any]) -> Outcome:
        return await self._on(given, lambda instance: instance.snapshot())

    async def _restore(self, given: Mapping[str, Any]) -> Outcome:
        return await self._played(given, lambda instance: instance.restore(given["snapshot_id"]))

    async def _close(self, given: Mapping[str, Any]) -> Outcome:
        instance_id = given.get("instance_id")
        if instance_id is None or instance_id not in self._closed:
            instance_id = self._chosen(given).instance_id
            await self._forget(instance_id)
        return Outcome(f"Instance {instance_id} is closed.", {"instance_id": instance_id})

    # What tools have in common

    def _chosen(self, given: Mapping[str, Any]) -> PlayedInstance:
        instance_id = given.get("instance_id")
        live = ", ".join(self._instances)
        if instance_id is None and len(self._instances) == 1:
            return next(iter(self._instances.values()))
        if not self._instances and instance_id is None:
            raise UnknownInstanceError(f"you have no instance: {self._HOW_TO_BEGIN}")
        if instance_id is None:
            raise InvalidValueError(f"you have several instances: give instance_id, one of {live}")
        if instance_id not in self._instances:
            which = f"you have {live}" if live else "you have none"
            gone = "is closed" if instance_id in self._closed else "is not one of yours"
            raise UnknownInstanceError(f"the instance {instance_id!r} {gone}: {which}; {self._HOW_TO_GO_ON}")
        return self._instances[instance_id]

    async def _on(self, given: Mapping[str, Any], use: Callable[[PlayedInstance], Awaitable[Outcome]]) -> Outcome:
        """Use an instance; one whose environment has ended is closed, so that it takes no more room."""
        instance = self._chosen(given)
        try:
            return await use(instance)
        except _ENDED as error:
            await self._forget(instance.instance_id)
            return Outcome(
                f"{error.detail}. Instance {instance.instance_id} is closed; {self._HOW_TO_GO_ON}.", is_error=True
            )

    async def _played(self, given: Mapping[str, Any], use: Callable[[PlayedInstance], Awaitable[Outcome]]) -> Outcome:
        """Use an instance; add the frame, where it is asked for, and the steps that are left."""

        async def play(instance: PlayedInstance) -> Outcome:
            outcome = await use(instance)
            frame, text = None, outcome.text
            if given.get("frame"):
                try:
                    frame = await instance.frame()
                except _ENDED:
                    raise
                except (GymHttpServerError, HttpProblem) as error:
                    text += f"\nThere is no frame: {error.detail}"
            told = None if outcome.structured is None else {**outcome.structured, "steps_left": self._budget.left}
            return replace(outcome, text=text + self._budget.in_words, structured=told, frame=frame)

        return await self._on(given, play)

    async def _forget(self, instance_id: str) -> None:
        self._instances.pop(instance_id, None)
        self._closed[instance_id] = None
        if len(self._closed) > MAX_CLOSED_IDS:
            del self._closed[next(iter(self._closed))]
        with contextlib.suppress(GymHttpServerError, HttpProblem):
            await self._session.close(instance_id)

    async def _record(self, instance_id: str, env_id: str) -> None:
        name = f"{re.sub(r'[^A-Za-z0-9._-]', '-', env_id)[:100]}-{instance_id}"
        body = {"directory": f"{self._rules.record}/{self._began}/{name}", "trajectories": True}
        await self._session.call("startMonitor", body, instance_id=instance_id)


def described(environment: PlayedEnvironment) -> Outcome:
    """Return what an environment is, with its docstring."""
    told = {**environment.told(), "documentation": environment.documentation}
    about = f"\n\n{environment.documentation}" if environment.documentation else ""
    return Outcome(f"{told['env_id']} ({told['library']})\n{environment.in_words()}{about}", told)
