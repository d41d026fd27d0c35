"""Who is to blame: what an environment raises or returns is its own, and what code of this project raises never is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest

from gym_http_server.errors import (
    EnvironmentCreationError,
    EnvironmentRaisedError,
    EnvironmentResultError,
    InvalidValueError,
    RenderModeError,
    RuntimeDefectError,
)
from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.served.base import Served
from gym_http_server.runtime.served.opening import open_served
from gym_http_server.runtime.snapshots import snapshots
from tests.conftest import start
from tests.support.serving import eventually


class Puppet(gymnasium.Env[Any, Any]):
    """Returns, or raises, what `answers` says for a method."""

    action_space = observation_space = gymnasium.spaces.Discrete(2)
    metadata = {"render_modes": ["human", "rgb_array"]}  # noqa: RUF012 -- as Gymnasium has it
    answers: dict[str, Any] = {}  # noqa: RUF012 -- of all of them

    def __init__(self, *, fails: bool = False, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        if fails:
            raise ValueError("no such robot")

    def _answer(self, name: str, usual: Any) -> Any:
        answer = self.answers.get(name, usual)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:  # noqa: ARG002 -- the signature
        return self._answer("reset", (0, {}))

    def step(self, action: Any) -> Any:  # noqa: ARG002 -- the signature
        return self._answer("step", (0, 0.0, False, False, {}))

    def render(self) -> Any:
        return self._answer("render", np.zeros((2, 2, 3), np.uint8))


class Windowed(Puppet):
    """Renders for people alone."""

    metadata = {"render_modes": ["human"]}  # noqa: RUF012 -- as Gymnasium has it


@pytest.fixture
def puppet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    for cls in (Puppet, Windowed):
        env_id = f"test_blame/{cls.__name__}-v0"
        monkeypatch.setitem(
            gymnasium.registry, env_id, gymnasium.envs.registration.EnvSpec(env_id, cls, order_enforce=False)
        )
    monkeypatch.setattr(Puppet, "answers", {})
    served = open_served(CreateRequest("test_blame/Puppet-v0"), may_fork=False)
    served.call("reset", {})
    yield served
    served.close()


RESULTS = [
    ("step", (0, 0.0, False, {}), "unpack"),
    ("step", None, "unpack"),
    ("step", (0, "much", False, False, {}), "much"),
    ("reset", 0, "unpack"),
    ("render", {"a": 1}, "dict"),
]


@pytest.mark.parametrize(("operation", "answer", "words"), RESULTS)
def test_what_an_environment_returns_wrongly_it_has_not_raised(
    puppet: Served, operation: str, answer: Any, words: str
) -> None:
    """The error says of which method, and that it is the result."""
    Puppet.answers[operation] = answer
    arguments = {"step": {"action": 0}, "reset": {"options": {}}, "render": {"media_types": ["image/png"]}}[operation]
    with pytest.raises(EnvironmentResultError, match=f"the environment's {operation} returned .*{words}"):
        puppet.call(operation, arguments)


@pytest.mark.parametrize("operation", ["step", "reset", "render"])
def test_what_an_environment_raises_is_said_to_be_raised(puppet: Served, operation: str) -> None:
    """With options of reset the caller's to blame."""
    Puppet.answers[operation] = ValueError("not today")
    arguments = {"step": {"action": 0}, "reset": {}, "render": {"media_types": ["image/png"]}}[operation]
    words = f"the environment raised ValueError during {operation}: not today"
    with pytest.raises(EnvironmentRaisedError, match=words):
        puppet.call(operation, arguments)
    if operation == "reset":
        with pytest.raises(InvalidValueError, match=words):
            puppet.call(operation, {"options": {}})


def test_a_method_of_another_signature_is_the_environments(puppet: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception comes from our line, which calls it."""
    monkeypatch.setattr(Puppet, "reset", lambda self: (0, {}))  # noqa: ARG005 -- the signature
    with pytest.raises(EnvironmentRaisedError, match="unexpected keyword argument"):
        puppet.call("reset", {})


def test_what_our_own_code_raises_is_a_defect_of_the_server(
    puppet: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its traceback is in the log, and the environment is not named as its cause."""
    code = compile("def failing(*_, **__):\n    raise KeyError('ours')\n", "ours.py", "exec")
    space: dict[str, Any] = {"__name__": "gym_http_server.runtime.snapshots.snapshots"}
    exec(code, space)  # noqa: S102 -- written here
    monkeypatch.setattr(snapshots.Snapshots, "create", space["failing"])
    with caplog.at_level(logging.ERROR), pytest.raises(RuntimeDefectError, match="the server has a defect") as raised:
        puppet.call("snapshot_create", {"limit": 1})
    assert "the environment raised" not in raised.value.detail
    assert "KeyError: 'ours'" in raised.value.detail
    assert caplog.records[0].exc_info is not None


@pytest.mark.parametrize("kind", ["process", "inline"])
def test_a_constructor_that_fails_leaves_its_traceback_in_the_log(kind: str) -> None:
    """With the line that raised, as a step does."""
    with start(kind, "--import", "tests.support.troublemakers") as server:
        answer = server.post("/v1/envs/", {"env_id": "CartPole-v1", "kwargs": {"no_such": 1}})
        assert answer.status == 400
        eventually(lambda: "Traceback" in "".join(server.stderr))
        eventually(lambda: "unexpected keyword argument 'no_such'" in "".join(server.stderr))


def test_a_failed_constructor_is_logged_once(puppet: Served, caplog: pytest.LogCaptureFixture) -> None:  # noqa: ARG001 -- it registers
    """As one record with its traceback."""
    with pytest.raises(EnvironmentCreationError, match="no such robot"):
        open_served(CreateRequest("test_blame/Puppet-v0", kwargs={"fails": True}), may_fork=False)
    [record] = [each for each in caplog.records if "no such robot" in each.getMessage()]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


@pytest.mark.parametrize(
    ("env_id", "advice"),
    [
        ("test_blame/Puppet-v0", "create it with render_mode 'rgb_array' for a frame"),
        ("test_blame/Windowed-v0", "the environment has no render mode that gives a frame"),
    ],
)
def test_only_a_render_mode_that_is_there_is_advised(puppet: Served, env_id: str, advice: str) -> None:  # noqa: ARG001 -- it registers
    """What the environment's metadata names."""
    served = open_served(CreateRequest(env_id, render_mode="human"), may_fork=False)
    served.call("reset", {})
    with pytest.raises(RenderModeError, match=f": {advice}$"):
        served.call("render", {"media_types": ["image/png"]})
    served.close()


def test_a_constructor_that_fails_is_told_where(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The last line of the package's own code, without a path of the machine; the log has the whole traceback."""
    package = tmp_path / "breaking_package"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import json\nimport gymnasium\nfrom . import parts\n"
        "def create(text='{', **kwargs):\n    return parts.load(text)\n"
        "gymnasium.register('test_blame/Breaking-v0', create)\n"
    )
    (package / "parts.py").write_text("import json\ndef load(text):\n    return json.loads(text)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("breaking_package")
    for lanes in (None, 2):
        caplog.clear()
        with pytest.raises(EnvironmentCreationError) as raised:
            open_served(CreateRequest("test_blame/Breaking-v0", num_envs=lanes))
        assert raised.value.detail.endswith(" (breaking_package/parts.py, line 3: return json.loads(text))")
        assert str(tmp_path) not in raised.value.detail
        assert "json/decoder.py" in caplog.text
    del gymnasium.registry["test_blame/Breaking-v0"]


class NeedsTable(Puppet):
    """Wants a value that JSON has not."""

    def __init__(self, df: Any) -> None:
        df.iloc  # noqa: B018 -- it is to fail


def test_a_constructor_that_wants_no_json_is_told_of_the_way() -> None:
    """Where an argument is missing, and where a plain value was given for it."""
    gymnasium.register("test_blame/NeedsTable-v0", NeedsTable)
    for kwargs in ({}, {"df": [1]}):
        with pytest.raises(EnvironmentCreationError, match=r"DataFrame.*--env ID=MODULE:CALLABLE"):
            open_served(CreateRequest("test_blame/NeedsTable-v0", kwargs=kwargs))
    with pytest.raises(EnvironmentCreationError) as raised:
        open_served(CreateRequest("CartPole-v1", kwargs={"nonsense": 1}))
    assert "--env" not in raised.value.detail
    del gymnasium.registry["test_blame/NeedsTable-v0"]
