"""`Lifecycle`: a stateful test of one instance, from creation to close, against a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from ..exchange import Nonconformity, Request
from ..ledger import ENVS

if TYPE_CHECKING:
    import hypothesis

    from ..caller import Caller
    from ..exchange import Answer

_SEEDS = st.none() | st.integers(0, 2**31)
_OK, _BAD_REQUEST, _CONFLICT = 200, 400, 409


class Lifecycle(RuleBasedStateMachine):
    """Calls of one instance in any order; the expected status of a call depends on those before it."""

    def __init__(self, caller: Caller, env_id: str) -> None:
        super().__init__()
        self._caller = caller
        self._env_id = env_id
        self._instance_id = ""
        self._is_reset = False
        self._is_closed = False
        self._steps = 0

    @initialize()
    def create(self) -> None:
        """Create the instance."""
        self._instance_id = self._caller.create_env(self._env_id)["instance_id"]

    @rule(seed=_SEEDS)
    def reset(self, seed: int | None) -> None:
        """Start an episode."""
        self._post("reset/", {"seed": seed}, _OK)
        self._is_reset = True

    @rule()
    def step(self) -> None:
        """Step with a sampled action; reset at the end of an episode."""
        action = self._caller.sample(self._instance_id)
        answer = self._post("step/", {"action": action}, _OK if self._is_reset else _CONFLICT)
        if answer.status == _OK:
            self._steps += 1
            if answer.json["done"]:
                self.reset(None)

    @rule()
    def step_invalid(self) -> None:
        """Step with an invalid action."""
        self._post("step/", {"action": "none"}, _BAD_REQUEST, *(() if self._is_reset else (_CONFLICT,)))

    @rule(steps=st.integers(1, 20), seed=_SEEDS)
    def rollout(self, steps: int, seed: int | None) -> None:
        """Take random actions; a rollout resets the instance if needed."""
        if self._post("rollout/", {"policy": "random", "steps": steps, "seed": seed}, _OK).status == _OK:
            self._steps += steps
        self._is_reset = True

    @rule()
    def describe(self) -> None:
        """Compare the number of steps."""
        answer = self._exchange(Request.of("GET", f"{ENVS}{self._instance_id}/"), _OK)
        if answer.status == _OK and answer.json["steps"] != self._steps:
            raise Nonconformity(f"steps {self._steps}, for so many were taken", f"steps {answer.json['steps']}")

    # After a step, because hypothesis would close most instances at once.
    @precondition(lambda self: self._steps > 0)
    @rule()
    def close(self) -> None:
        """Close the instance; later calls find it unknown."""
        self._post("close/", {}, _OK)
        self._is_closed = True

    def teardown(self) -> None:
        """Close the instance if no rule did."""
        if self._instance_id and not self._is_closed:
            self._caller.close_env(self._instance_id)

    def _post(self, path: str, value: dict[str, Any], *expected: int) -> Answer:
        return self._exchange(Request.of("POST", f"{ENVS}{self._instance_id}/{path}", value), *expected)

    def _exchange(self, request: Request, *expected: int) -> Answer:
        statuses = (_BAD_REQUEST,) if self._is_closed else expected
        exchange = self._caller.exchange(request)
        if exchange.answer.status not in statuses:
            state = "closed" if self._is_closed else "reset" if self._is_reset else "not yet reset"
            wanted = " or ".join(map(str, statuses))
            raise Nonconformity(f"{wanted} of an instance that is {state}", str(exchange.answer.status), exchange)
        return exchange.answer


def live(caller: Caller, env_id: str, settings: hypothesis.settings) -> None:
    """Run the model's calls against new instances, as many as the settings have examples."""
    run_state_machine_as_test(lambda: Lifecycle(caller, env_id), settings=settings)  # type: ignore[arg-type]  # any factory
