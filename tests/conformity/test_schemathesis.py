"""schemathesis against the running app: every operation, generated data good and bad, and sequences of calls.

In full through connexion's stack, and with a smaller budget through the hot path, in the server and on connections that
are handed over to environments' processes. JSON and MessagePack alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from schemathesis import Case

from gym_http_server.client import Client
from gym_http_server.conformity.generated.cases import accepted, aim, steer
from gym_http_server.conformity.generated.pool import Pool
from gym_http_server.conformity.generated.schema import budget, each_operation, is_hot, load_schema, packed
from gym_http_server.conformity.generated.sequences import load_linked_schema, run_sequences

from ..conftest import start
from ..support.live import LiveApp

SCHEMA = load_schema()
LINKED = load_linked_schema()

pytestmark = pytest.mark.filterwarnings("ignore:.*You are calling 'step..' even though:UserWarning")
"""What is generated steps on after an episode's end; environments in this process warn of that."""

ENVIRONMENTS = ("CartPole-v1", "Pendulum-v1", "Blackjack-v1", "tests/Everything-v0")


class Target:
    """A server, and live instances on it for generated requests."""

    def __init__(self, url: str, session: requests.Session) -> None:
        self.url = url
        self.session = session
        self._pool = Pool(Client(url), ENVIRONMENTS)

    def call(self, case: Case) -> None:
        """Send a generated request, of a live instance where it is a good one, and validate the reply."""
        aim(case, self._pool, self._sample)
        case.call_and_validate(base_url=self.url, headers=accepted(case), session=self.session)

    def call_in_sequence(self, sequences: int) -> None:
        """Make sequences of calls along the links of the contract."""
        steps = budget(sequences, stateful_step_count=12)
        run_sequences(LINKED, steps, self._prepare, self.session, base_url=self.url)

    def _prepare(self, case: Case) -> None:
        steer(case, ENVIRONMENTS, self._sample)
        if isinstance(case.body, dict):
            # An environment is left the time that it takes: a process is killed when that is over.
            case.body.pop("call_timeout", None)

    def _sample(self, instance_id: str) -> Any:
        # On the connection that is used for the instance anyway, lest it be handed back.
        return self.session.get(f"{self.url}/v1/envs/{instance_id}/action_space/sample").json().get("action")


@pytest.fixture(scope="module")
def live() -> Iterator[LiveApp]:
    """The app without the hot path."""
    with LiveApp(validate_responses=True, hot_path=False) as app:
        yield app


@pytest.fixture(scope="module")
def full(live: LiveApp) -> Iterator[Target]:
    with requests.Session() as session:
        yield Target(live.url, session)


@pytest.fixture(scope="module")
def hot() -> Iterator[Target]:
    """The app as it is served."""
    with LiveApp(validate_responses=True) as app, requests.Session() as session:
        yield Target(app.url, session)


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server that hands every connection over at once, with limits that keep what is generated from taking minutes."""
    root = str(tmp_path_factory.mktemp("results"))
    limits = ("--max-envs", "100000", "--max-lanes", "4", "--max-reply", str(1 << 16))
    with start("handover", *limits, "--results-root", root) as running, requests.Session() as session:
        yield Target(running.url, session)


@each_operation(SCHEMA, budget(25))
def test_every_operation_answers_as_the_contract_says(case: Case, full: Target) -> None:
    """Whatever is sent, the reply is one that the contract declares, and what it forbids is refused."""
    full.call(case)


@each_operation(SCHEMA, budget(10), only=is_hot)
def test_the_hot_path_answers_as_the_contract_says(case: Case, hot: Target) -> None:
    """The same holds for the operations of a training loop where they do not go through connexion's stack."""
    hot.call(case)


@each_operation(SCHEMA, budget(10), only=is_hot)
def test_an_environments_process_answers_as_the_contract_says(case: Case, handed: Target) -> None:
    """The same holds where the environment's own process answers, on connections that are kept."""
    handed.call(case)


def test_messagepack_was_sent_and_answered() -> None:
    """The tests above cover the second media type as well."""
    assert packed["bodies"] > 100
    assert packed["replies"] > 100


def test_the_shutdown_was_only_recorded(live: LiveApp) -> None:
    """The generated requests reached the shutdown's callback, which a real server's test covers."""
    assert live.shutdowns


def test_sequences_of_calls(full: Target) -> None:
    """Calls along the links of the contract, from createEnv on, are answered as it says."""
    full.call_in_sequence(15)


def test_sequences_of_calls_by_the_hot_path(hot: Target) -> None:
    """The same holds where the hot path is in front."""
    hot.call_in_sequence(10)


def test_sequences_of_calls_of_an_environments_process(handed: Target) -> None:
    """The same holds on a connection that is handed over at once."""
    handed.call_in_sequence(10)
