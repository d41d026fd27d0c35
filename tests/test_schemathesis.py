"""schemathesis against the running app: every operation, generated data good and bad, and sequences of calls."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck
from schemathesis import Case, GenerationMode
from schemathesis.config import SchemathesisConfig

from gym_http_server.app import Application, create_app
from gym_http_server.config import Settings
from gym_http_server.server import HttpProtocol, listen
from gym_http_server.spec import load_contract

CONFIG = SchemathesisConfig.from_dict(
    {
        "checks": {
            # A value that fits the schema may still be refused: an environment id that nobody registers, an action
            # outside of this environment's space (400), a step before the first reset (409).
            "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "409"]},
            # The v1 contract answers 400 for an instance that is unknown, closed ones included, and its own test suite
            # asserts that; these checks want 404.
            "use_after_free": {"enabled": False},
            "ensure_resource_availability": {"enabled": False},
        },
        "generation": {"mode": "all"},
    }
)
SCHEMA = schemathesis.openapi.from_dict(copy.deepcopy(load_contract().document), config=CONFIG)
SETTINGS = hypothesis.settings(
    max_examples=100,
    deadline=None,
    # Each example is a request to a live server, and examples share it by design.
    suppress_health_check=list(HealthCheck),
)


class LiveApp:
    """The app under uvicorn in a thread, with a recorder in place of the shutdown and its replies validated."""

    def __init__(self) -> None:
        self.shutdowns: list[bool] = []
        [self._socket] = listen("127.0.0.1", 0)
        self.url = "http://{}:{}".format(*self._socket.getsockname())
        self._started = threading.Event()
        self._server: uvicorn.Server | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._started.wait(60)

    def _run(self) -> None:
        settings = Settings(engine="inline", imports=("tests.troublemakers",))
        app: Application = create_app(settings, shut_down=lambda: self.shutdowns.append(True), validate_responses=True)
        config = uvicorn.Config(app, http=HttpProtocol, ws="none", log_config=None, lifespan="on")
        self._server = uvicorn.Server(config)
        startup = self._server.startup

        async def startup_and_say_so(**kwargs: Any) -> None:
            await startup(**kwargs)
            self._started.set()

        self._server.startup = startup_and_say_so  # type: ignore[method-assign]
        self._server.run([self._socket])

    def stop(self) -> None:
        assert self._server is not None
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def live() -> Iterator[LiveApp]:
    app = LiveApp()
    yield app
    app.stop()


ENVIRONMENTS = ("CartPole-v1", "Pendulum-v1", "Blackjack-v1", "tests/Everything-v0")


class Pool:
    """Live instances for the operations that need one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ids: list[str] = []
        self._made = 0

    def take(self, *, consume: bool) -> str:
        if consume:
            return self._create("CartPole-v1")
        if not self._ids:
            self._ids = [self._create(env_id) for env_id in ENVIRONMENTS]
        self._made += 1
        return self._ids[self._made % len(self._ids)]

    def _create(self, env_id: str) -> str:
        import json
        from urllib.request import Request, urlopen

        body = json.dumps({"env_id": env_id}).encode()
        with urlopen(Request(f"{self._url}/v1/envs/", body, {"Content-Type": "application/json"})) as answer:
            return json.load(answer)["instance_id"]


@pytest.fixture(scope="module")
def pool(live: LiveApp) -> Pool:
    return Pool(live.url)


@SCHEMA.parametrize()
@SETTINGS
def test_every_operation_answers_as_the_contract_says(case: Case, live: LiveApp, pool: Pool) -> None:
    """Whatever is sent, the reply is one that the contract declares, and what it forbids is refused."""
    positive = case.meta is None or case.meta.generation.mode is GenerationMode.POSITIVE
    if positive and "instance_id" in (case.path_parameters or {}):
        consumed = case.operation.definition.raw["operationId"] in ("closeEnv", "deleteEnv")
        case.path_parameters["instance_id"] = pool.take(consume=consumed)
    case.call_and_validate(base_url=live.url)


def test_the_shutdown_was_only_recorded(live: LiveApp) -> None:
    """The generated requests reached the shutdown's callback, which a real server's test covers."""
    assert live.shutdowns


class Sequences(SCHEMA.as_state_machine()):  # type: ignore[misc]  # a class that schemathesis makes
    """Calls along the links of the contract: create, then whatever takes the new instance's id."""

    url = ""

    def get_call_kwargs(self, case: Case) -> dict[str, Any]:  # noqa: ARG002 -- schemathesis's signature
        return {"base_url": self.url}


@pytest.mark.usefixtures("_sequences_know_the_url")
class TestSequences(Sequences.TestCase):
    settings = hypothesis.settings(
        max_examples=50, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
    )


@pytest.fixture
def _sequences_know_the_url(live: LiveApp) -> None:
    Sequences.url = live.url
