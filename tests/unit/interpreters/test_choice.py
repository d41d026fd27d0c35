"""Which interpreter makes an id that the server's own Python does not, and how what they register is asked and kept."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from gym_http_server.config import Settings
from gym_http_server.errors import (
    GymHttpServerError,
    InquiryFailedError,
    InterpreterChoiceError,
    MissingDependencyError,
    UnknownEnvironmentError,
)
from gym_http_server.interpreters import interpreters as interpreters_module
from gym_http_server.interpreters import registered
from gym_http_server.interpreters.interpreters import Interpreters, listed, wait_for
from gym_http_server.runtime.messages import CreateRequest
from tests.support.serving import SECONDS, eventually

ROW = {"library": "gymnasium", "installed": True}
UNKNOWN = UnknownEnvironmentError.of("Some-v0", "no library has it")
MISSING = MissingDependencyError("Some-v0 needs a package", package="some")


class Answers:
    """In place of processes: an answer for each interpreter, a list of ids, an error's text, or None for none yet."""

    def __init__(self, **by_name: Any) -> None:
        self.by_name = by_name
        self.asked: list[str] = []
        self.gate = threading.Event()

    def ask(self, _: str, question: dict[str, Any]) -> Any:
        name = question["interpreter"]["name"]
        self.asked.append(name)
        answer = self.by_name[name]
        if answer is None:
            self.gate.wait(SECONDS)
            answer = []
        if isinstance(answer, str):
            return {"error": answer}
        return {"environments": [each if isinstance(each, dict) else {"id": each, **ROW} for each in answer]}

    def interpreters(self) -> Interpreters:
        made = Interpreters(Settings(interpreter=tuple(f"{name}=self" for name in self.by_name)))
        for registry in made._registries.values():
            registry._inquirer = self
        return made


def instead(answers: Answers, error: Any, **request: Any) -> str:
    made = CreateRequest("Some-v0", **request)
    return asyncio.run(answers.interpreters().instead(made, error)).name


def test_the_only_interpreter_that_has_an_id_makes_it() -> None:
    """Of the library that was asked for; one that lacks what the environment needs is no choice beside one that has it."""
    assert instead(Answers(a=["Other-v0"], b=["Some-v0"]), UNKNOWN) == "b"
    gym = {"id": "Some-v0", "library": "gym", "installed": True}
    assert instead(Answers(a=[gym], b=["Some-v0"]), UNKNOWN, library="gym") == "a"
    lacks = {"id": "Some-v0", "library": "gymnasium", "installed": False, "reason": "No module named 'some'"}
    assert instead(Answers(a=[lacks], b=["Some-v0"]), UNKNOWN) == "b"
    assert instead(Answers(a=[lacks], b=[]), UNKNOWN) == "a"


def test_an_id_of_several_interpreters_is_no_choice() -> None:
    """The error names them."""
    with pytest.raises(InterpreterChoiceError, match="several interpreters, a, c: name one") as caught:
        instead(Answers(a=["Some-v0"], b=[], c=["Some-v0"]), UNKNOWN)
    assert caught.value.facts == {"interpreters": ["a", "c"]}


def test_an_id_that_lacks_a_package_here_is_told_where_it_is() -> None:
    """It is not made elsewhere unasked, and the error keeps its members."""
    with pytest.raises(
        MissingDependencyError, match="needs a package; or name an interpreter that has it: b"
    ) as caught:
        instead(Answers(a=[], b=["Some-v0"]), MISSING)
    assert caught.value.facts == {"package": "some"}
    with pytest.raises(MissingDependencyError, match=r"needs a package$"):
        instead(Answers(a=[]), MISSING)


def test_an_id_of_nobody_is_answered_with_those_that_were_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with those that have not answered in time, and those that cannot."""
    monkeypatch.setattr(interpreters_module, "WAIT_SECONDS", 0.2)
    answers = Answers(a=[], b="it is broken", c=None)
    with pytest.raises(
        UnknownEnvironmentError, match="no library has it; nor has an interpreter such an id: "
    ) as caught:
        instead(answers, UNKNOWN)
    assert caught.value.detail.endswith("a, b (it is broken), c (it has not answered yet)")
    assert caught.value.facts == {"env_id": "Some-v0"}
    answers.gate.set()


def test_interpreters_are_asked_when_they_are_wanted_and_once() -> None:
    """Requests at the same time and later ones share the answer."""
    answers = Answers(a=["A-v0"], b=["B-v0"])
    interpreters = answers.interpreters()
    assert answers.asked == []
    asked = [interpreters.ask("a"), interpreters.ask("a")]
    asyncio.run(wait_for(asked[0]))
    asked.append(interpreters.ask("a"))
    for each in asked:
        environments, states = listed(each)
        assert [(environment.env_id, environment.interpreter) for environment in environments] == [("A-v0", "a")]
        assert [state.to_json() for state in states] == [{"name": "a", "state": "ready", "reason": None}]
    assert answers.asked == ["a"]


def test_an_answer_is_asked_for_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure sooner than a list, and the old list stays until the new one is there, for which nobody waits."""
    answers = Answers(a="not now")
    interpreters = answers.interpreters()

    def states() -> list[str]:
        asked = interpreters.ask()
        asyncio.run(wait_for(asked))
        return [each.state for each in listed(asked)[1]]

    assert states() == states() == ["failed"]
    answers.by_name["a"] = ["A-v0"]
    monkeypatch.setattr(registered, "KEPT_FAILURE_SECONDS", 0.0)
    assert states() == states() == ["ready"]
    monkeypatch.setattr(registered, "KEPT_SECONDS", 0.0)
    answers.by_name["a"] = None
    assert states() == states() == ["ready"]
    assert answers.asked == ["a"] * 3
    answers.by_name["a"] = "gone"
    answers.gate.set()
    monkeypatch.setattr(registered, "KEPT_FAILURE_SECONDS", 10.0)
    eventually(lambda: states() == ["failed"])
    assert answers.asked == ["a"] * 4


@pytest.mark.parametrize("row", [{"id": "", **ROW}, {"id": "A-v0", "library": "other"}, {"id": "A" * 300, **ROW}])
def test_an_answer_that_is_none_is_a_failure(row: dict[str, Any]) -> None:
    """A guest runs third-party code, which may answer in its place."""
    asked = Answers(a=[row]).interpreters().ask()
    with pytest.raises(InquiryFailedError, match="an environment that is none"):
        asked["a"].result(SECONDS)


def test_numbers_of_an_answer_are_read_as_those_of_the_servers_own_libraries() -> None:
    """What is no such value is left out."""
    row = {"id": "A-v0", **ROW, "max_episode_steps": -1, "reward_threshold": "high", "render_modes": [1, "ansi"]}
    [environment] = Answers(a=[row]).interpreters().ask()["a"].result(SECONDS)
    assert (environment.max_episode_steps, environment.reward_threshold) == (None, None)
    assert environment.render_modes == ["1", "ansi"]


def test_facts_of_any_name_are_kept() -> None:
    """An environment's process may give an error a fact named like an argument of its class."""
    error = GymHttpServerError("text")
    error.facts = {"detail": 1, "self": 2}
    changed = interpreters_module.with_detail(error, "more", interpreter="a")
    assert (changed.detail, changed.facts) == ("more", {"detail": 1, "self": 2, "interpreter": "a"})
