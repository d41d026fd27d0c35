"""Operations executed in process: results, errors and counters are those of a client."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gym_http_server import errors
from gym_http_server.agents.operations import error_of
from gym_http_server.api.problems import HttpProblem, problem_of
from gym_http_server.app import Application
from gym_http_server.runtime.messages import MSGPACK
from gym_http_server.runtime.shared.traffic import tallies


async def test_an_episode_is_that_of_a_client(app: Application) -> None:
    """Creation, reset, step, frame and close take bodies and parameters and return values or bytes."""
    call = app.in_process.call
    made = await call("createEnv", {"env_id": "CartPole-v1", "name": "mine"})
    instance_id = made["instance_id"]
    reset = await call("resetEnv", {"seed": 42}, instance_id=instance_id)
    assert reset["observation"][0] == pytest.approx(0.0273956)
    step = await call("stepEnv", {"action": 1}, instance_id=instance_id)
    assert (step["reward"], step["terminated"]) == (1.0, False)
    packed = await call("stepEnv", {"action": 1}, instance_id=instance_id, accept=MSGPACK)
    assert packed["observation"].dtype == np.float32
    frame = await call("renderEnv", instance_id=instance_id, accept="image/png")
    assert frame.startswith(b"\x89PNG")
    assert (await call("getEnv", instance_id=instance_id))["name"] == "mine"
    assert (await call("listEnvs"))["all_envs"] == {instance_id: "CartPole-v1"}
    await call("closeEnv", instance_id=instance_id)
    assert app.instances.all() == []


async def test_parameters_go_to_path_and_query(app: Application) -> None:
    """A parameter that stands in the path goes there, each other one into the query."""
    made = await app.in_process.call("createEnv", {"env_id": "CartPole-v1"})
    told = await app.in_process.call("actionSpaceContainsValue", instance_id=made["instance_id"], x="1")
    assert told == {"member": True}
    listed = await app.in_process.call("listRegistry", q="FrozenLake", page_size=1)
    assert len(listed["environments"]) == 1


ERRORS: list[tuple[str, Any, dict[str, str], type[Exception], str]] = [
    ("stepEnv", {"action": 0}, {"instance_id": "00000000"}, errors.UnknownInstanceError, "unknown"),
    ("createEnv", {"env_id": "Nothing-v0"}, {}, errors.UnknownEnvironmentError, "Nothing-v0"),
    ("createEnv", {"env_id": 7}, {}, HttpProblem, "string"),
    ("getEpisode", None, {"evaluation_id": "e" * 12, "episode": 0}, errors.UnknownEvaluationError, "e" * 12),
]


@pytest.mark.parametrize(
    ("name", "body", "parameters", "kind", "text"), ERRORS, ids=[each[0] + each[4] for each in ERRORS]
)
async def test_an_error_is_that_of_a_client(
    app: Application, name: str, body: Any, parameters: dict[str, Any], kind: type[Exception], text: str
) -> None:
    """An operation that a client would be refused raises the error that says why, hot or not."""
    with pytest.raises(kind, match=text):
        await app.in_process.call(name, body, **parameters)


async def test_a_step_is_counted_as_that_of_a_client(app: Application) -> None:
    """An instance's counters have calls and errors of this process."""
    call = app.in_process.call
    instance_id = (await call("createEnv", {"env_id": "CartPole-v1"}))["instance_id"]
    with pytest.raises(errors.ResetNeededError):
        await call("stepEnv", {"action": 0}, instance_id=instance_id)
    await call("resetEnv", None, instance_id=instance_id)
    with pytest.raises(errors.InvalidActionError):
        await call("stepEnv", {"action": 7}, instance_id=instance_id)
    with pytest.raises(HttpProblem, match="required"):
        await call("stepEnv", {}, instance_id=instance_id)
    counted = {each.operation: each.statuses for each in tallies(app.instances.get(instance_id).counted)}
    assert counted == {"resetEnv": {"200": 1}, "stepEnv": {"409": 1, "400": 2}}


async def test_a_defect_is_told_as_to_a_client(app: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception becomes the problem with a reference, and no detail of it is told."""
    instance_id = (await app.in_process.call("createEnv", {"env_id": "CartPole-v1"}))["instance_id"]
    monkeypatch.setattr(app.in_process, "_execute", None)
    with pytest.raises(HttpProblem, match="the server has a defect") as caught:
        await app.in_process.call("resetEnv", None, instance_id=instance_id)
    assert caught.value.status == 500


@pytest.mark.parametrize(
    "error",
    [
        errors.TooManyInstancesError.of(3),
        HttpProblem(405, "method-not-allowed", "no", headers={"allow": "GET"}, limit=1),
    ],
    ids=["error", "problem"],
)
def test_problem_details_become_the_error_again(error: errors.GymHttpServerError | HttpProblem) -> None:
    """Class, text and facts survive the way through problem details."""
    problem = problem_of(error)
    again = error_of(problem.body, problem.headers)
    assert (type(again), again.detail, again.facts) == (type(error), error.detail, error.facts)
