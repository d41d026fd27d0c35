"""schemathesis against the running app: every operation, generated data good and bad, and sequences of calls.

In full through connexion's stack, and with a smaller budget through the hot path, in the server and on connections that
are handed over to environments' processes. JSON and MessagePack alike.
"""

from __future__ import annotations

import copy
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any
from urllib.request import Request, urlopen

import hypothesis
import msgpack
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck
from schemathesis import Case, GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.schemas import BaseSchema

from gym_http_server.spec import load_contract

from .conftest import start
from .live import LiveApp
from .serving import Server

CONFIG = SchemathesisConfig.from_dict(
    {
        "checks": {
            # A value that fits the schema may still be refused: an environment id that nobody registers, an action
            # outside of this environment's space (400), a step before the first reset (409), a rollout or batch over the
            # server's limits (413), a directory outside of the results roots (403), an evaluation that nobody made (404), a
            # key that was used before (422), a snapshot over the limit (429).
            "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "403", "404", "409", "413", "422", "429"]},
            # The v1 contract answers 400 for an instance that is unknown, closed ones included, and its own test suite
            # asserts that; these checks want 404.
            "use_after_free": {"enabled": False},
            "ensure_resource_availability": {"enabled": False},
        },
        "generation": {"mode": "all"},
    }
)
SCHEMA = schemathesis.openapi.from_dict(copy.deepcopy(load_contract().document), config=CONFIG)
HOT = SCHEMA.include(func=lambda context: bool(context.operation.definition.raw.get("x-hot-path")))


def each_operation(schema: BaseSchema, examples: int) -> Callable[[FunctionType], None]:
    """Make a test of its own for each operation, named after it: pytest takes what schemathesis makes of one for the same."""

    def make(function: FunctionType) -> None:
        for operation in schema.get_all_operations():
            operation_id = operation.ok().definition.raw["operationId"]
            name = f"{function.__name__}_{operation_id}"
            test = FunctionType(function.__code__, function.__globals__, name)
            test.__annotations__, test.__doc__ = function.__annotations__, function.__doc__
            # Of the whole schema: what is included adds to what was.
            chosen = SCHEMA.include(operation_id=operation_id)
            function.__globals__[name] = chosen.parametrize()(budget(examples)(test))

    return make


def budget(examples: int, **further: Any) -> hypothesis.settings:
    # Each example is a request to a live server, and examples share it by design.
    return hypothesis.settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), **further)


MSGPACK = "application/msgpack"
turns = itertools.count()
packed: Counter[str] = Counter()
"""How many bodies and replies were MessagePack."""


@schemathesis.serializer(MSGPACK)
def serialize(context: Any, value: Any) -> bytes:  # noqa: ARG001 -- schemathesis's signature
    """Return a generated value as MessagePack."""
    packed["bodies"] += 1
    if isinstance(value, bytes):
        return value
    try:
        return msgpack.packb(value)
    except (OverflowError, UnicodeEncodeError, ValueError):
        # An integer beyond 64 bits, a lone surrogate, or too deep: as near as the format comes to it.
        return msgpack.packb(repr(value).encode(errors="backslashreplace").decode())


@schemathesis.deserializer(MSGPACK)
def deserialize(context: Any, response: Any) -> Any:  # noqa: ARG001 -- schemathesis's signature
    """Return what a reply holds; a bin as text, because JSON Schema knows no other type for it."""
    packed["replies"] += 1
    return msgpack.unpackb(response.content, object_hook=_with_text)


def _with_text(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item.decode("latin-1") if isinstance(item, bytes) else item for key, item in value.items()}


pytestmark = pytest.mark.filterwarnings("ignore:.*You are calling 'step..' even though:UserWarning")
"""What is generated steps on after an episode's end; environments in this process warn of that."""

ENVIRONMENTS = ("CartPole-v1", "Pendulum-v1", "Blackjack-v1", "tests/Everything-v0")


class Pool:
    """Live instances for the operations that need one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ids: dict[str, list[str]] = {}
        self._snapshots: dict[str, str] = {}
        self._taken = 0

    def take(self, operation: dict[str, Any]) -> str:
        """Return an instance that the operation can be asked of; a new one where that ends it."""
        if operation["operationId"] in ("closeEnv", "deleteEnv"):
            return self._create({"env_id": "CartPole-v1"})
        kind = "batches" if "batches" in operation["tags"] else "environments"
        if kind not in self._ids:
            further = {"num_envs": 2} if kind == "batches" else {}
            self._ids[kind] = [self._create({"env_id": env_id, **further}) for env_id in ENVIRONMENTS]
        self._taken += 1
        return self._ids[kind][self._taken % len(ENVIRONMENTS)]

    def snapshot(self, instance_id: str, operation: dict[str, Any]) -> str:
        """Return a snapshot of an instance; a new one where the operation ends it."""
        if operation["operationId"] == "deleteSnapshot" or instance_id not in self._snapshots:
            self._post(f"/v1/envs/{instance_id}/reset/", {})
            made = self._post(f"/v1/envs/{instance_id}/snapshots/", {})["snapshot_id"]
            if operation["operationId"] == "deleteSnapshot":
                return made
            self._snapshots[instance_id] = made
        return self._snapshots[instance_id]

    def _create(self, body: dict[str, Any]) -> str:
        return self._post("/v1/envs/", body)["instance_id"]

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        request = Request(self._url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urlopen(request) as answer:
            return json.load(answer)


@pytest.fixture(scope="module")
def live() -> Iterator[LiveApp]:
    """The app without the hot path."""
    with LiveApp(validate_responses=True, hot_path=False) as app:
        yield app


@pytest.fixture(scope="module")
def pool(live: LiveApp) -> Pool:
    return Pool(live.url)


@pytest.fixture(scope="module")
def hot() -> Iterator[LiveApp]:
    """The app as it is served."""
    with LiveApp(validate_responses=True) as app:
        yield app


@pytest.fixture(scope="module")
def hot_pool(hot: LiveApp) -> Pool:
    return Pool(hot.url)


@pytest.fixture(scope="module")
def handover(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that hands every connection over at once, with limits that keep what is generated from taking minutes."""
    root = str(tmp_path_factory.mktemp("results"))
    limits = ("--max-envs", "100000", "--max-lanes", "4", "--max-reply", str(1 << 16))
    with start("handover", *limits, "--results-root", root) as running:
        yield running


@pytest.fixture(scope="module")
def handover_pool(handover: Server) -> Pool:
    return Pool(handover.url)


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """A client that keeps its connection."""
    with requests.Session() as kept:
        yield kept


def rename(case: Case) -> None:
    """Give a request a key of its own: the generated ones are few, and a used one is refused."""
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and 0 < len(key) < 200:
        case.headers["Idempotency-Key"] = f"{key}-{next(turns)}"


def call(case: Case, app: LiveApp | Server, pool: Pool, session: requests.Session | None = None) -> None:
    """Send a generated request, of a live instance where it is a good one, and validate the reply.

    A MessagePack is asked for where one is sent, and in turn where nothing is.
    """
    positive = case.meta is None or case.meta.generation.mode is GenerationMode.POSITIVE
    if positive and "instance_id" in (case.path_parameters or {}):
        instance_id = case.path_parameters["instance_id"] = pool.take(case.operation.definition.raw)
        if "snapshot_id" in case.path_parameters:
            case.path_parameters["snapshot_id"] = pool.snapshot(instance_id, case.operation.definition.raw)
    if positive:
        rename(case)
    is_hot = bool(case.operation.definition.raw.get("x-hot-path"))
    wants_packed = case.media_type == MSGPACK or (is_hot and case.media_type is None and next(turns) % 2)
    case.call_and_validate(base_url=app.url, headers={"Accept": MSGPACK} if wants_packed else None, session=session)


@each_operation(SCHEMA, examples=100)
def test_every_operation_answers_as_the_contract_says(case: Case, live: LiveApp, pool: Pool) -> None:
    """Whatever is sent, the reply is one that the contract declares, and what it forbids is refused."""
    call(case, live, pool)


@each_operation(HOT, examples=30)
def test_the_hot_path_answers_as_the_contract_says(case: Case, hot: LiveApp, hot_pool: Pool) -> None:
    """The same holds for the operations of a training loop where they do not go through connexion's stack."""
    call(case, hot, hot_pool)


@each_operation(HOT, examples=15)
def test_an_environments_process_answers_as_the_contract_says(
    case: Case, handover: Server, handover_pool: Pool, session: requests.Session
) -> None:
    """The same holds where the environment's own process answers, on connections that are kept."""
    call(case, handover, handover_pool, session)


def test_messagepack_was_sent_and_answered() -> None:
    """The tests above cover the second media type as well."""
    assert packed["bodies"] > 100
    assert packed["replies"] > 100


def test_the_shutdown_was_only_recorded(live: LiveApp) -> None:
    """The generated requests reached the shutdown's callback, which a real server's test covers."""
    assert live.shutdowns


class Sequences(SCHEMA.as_state_machine()):  # type: ignore[misc]  # a class that schemathesis makes
    """Calls along the links of the contract: create, then whatever takes the new instance's id."""

    url = ""

    def before_call(self, case: Case) -> None:
        rename(case)

    def get_call_kwargs(self, case: Case) -> dict[str, Any]:  # noqa: ARG002 -- schemathesis's signature
        return {"base_url": self.url}


class HotSequences(Sequences):
    """The same calls where the hot path is in front."""


class HandoverSequences(SCHEMA.exclude(operation_id="shutdownServer").as_state_machine()):  # type: ignore[misc]  # as above
    """The same calls on a connection that is handed over at once, to a server that is still to be there afterwards."""

    url = ""
    session: requests.Session | None = None

    def before_call(self, case: Case) -> None:
        """Leave an environment the time that it takes: a process is killed when that is over."""
        rename(case)
        if isinstance(case.body, dict):
            case.body.pop("call_timeout", None)

    def get_call_kwargs(self, case: Case) -> dict[str, Any]:  # noqa: ARG002 -- schemathesis's signature
        return {"base_url": self.url, "session": self.session}


@pytest.mark.usefixtures("_sequences_know_the_url")
class TestSequences(Sequences.TestCase):
    settings = budget(50, stateful_step_count=12)


@pytest.mark.usefixtures("_hot_sequences_know_the_url")
class TestHotSequences(HotSequences.TestCase):
    settings = budget(15, stateful_step_count=12)


@pytest.mark.usefixtures("_handover_sequences_know_the_url")
class TestHandoverSequences(HandoverSequences.TestCase):
    settings = budget(15, stateful_step_count=12)


@pytest.fixture
def _sequences_know_the_url(live: LiveApp) -> None:
    Sequences.url = live.url


@pytest.fixture
def _hot_sequences_know_the_url(hot: LiveApp) -> None:
    HotSequences.url = hot.url


@pytest.fixture
def _handover_sequences_know_the_url(handover: Server, session: requests.Session) -> None:
    HandoverSequences.url, HandoverSequences.session = handover.url, session
