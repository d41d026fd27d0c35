"""The pytest plugin: options, fixtures and report data of the suite.

pytest -p gym_http_server.conformity.plugin --gym-url http://127.0.0.1:5000 --pyargs gym_http_server.conformity.suite
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from .caller import Caller
from .exchange import KEY_VARIABLE, NotServed
from .implementation import Implementation
from .pool import Pool
from .schema import budget
from .session import KitSession

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

SUITE = "gym_http_server.conformity.suite"
PROFILE = "gym-http-server"
"""The hypothesis profile that the suite's generated tests take."""

PHASES = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
"""Without shrinking: what is found is small enough, and to make it smaller takes a thousand requests."""

STEPS = 12
"""How many calls a sequence has."""

ENV_IDS = ("CartPole-v1", "Pendulum-v1", "Blackjack-v1")
"""What generated requests are sent to: small environments of three kinds of spaces."""

EXAMPLES = 25

IMPLEMENTATION = pytest.StashKey[Implementation]()
REQUESTS = pytest.StashKey[int]()


@dataclass(frozen=True, slots=True)
class ResultRow:
    """The row of a test in the result table.

    Attributes:
        group: `schema`, `sequences`, `trajectories` or `wire`.
        sentence: what the test holds.
        case: of what it holds it, where that is one of several.
    """

    group: str
    sentence: str
    case: str = ""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the suite."""
    group = parser.getgroup("gym-http-server", "gym-http-server's conformity kit")
    group.addoption("--gym-url", metavar="URL", help="the implementation of the contract to check")
    group.addoption(
        "--gym-api-key", metavar="KEY", help=f"its key; {KEY_VARIABLE} keeps it out of the list of processes"
    )
    group.addoption(
        "--gym-examples", metavar="N", type=int, default=EXAMPLES, help="generated requests for each operation"
    )
    group.addoption("--gym-seed", metavar="N", type=int, default=0, help="seed of the trajectories")
    group.addoption(
        "--gym-timeout", metavar="SECONDS", type=float, default=60.0, help="seconds that an answer may take"
    )
    group.addoption("--gym-with-uploads", action="store_true", help="upload a recording, which writes an evaluation")


def pytest_configure(config: pytest.Config) -> None:
    """Read the options, before the suite's modules are imported."""
    config.addinivalue_line("markers", "operation(operation_id): which operation of the contract a test is about")
    # From hypothesis's own defaults: it has others where it finds itself in CI, and the same seed is to do the same.
    defaults = hypothesis.settings.get_profile("default")
    settings = budget(
        config.getoption("--gym-examples"), defaults, stateful_step_count=STEPS, database=None, phases=PHASES
    )
    hypothesis.settings.register_profile(PROFILE, settings)
    url = config.getoption("--gym-url")
    if url:
        try:
            implementation = Implementation(url, config.getoption("--gym-api-key"), config.getoption("--gym-timeout"))
        except ValueError as error:
            raise pytest.UsageError(f"--gym-url: {error}") from None
        config.stash[IMPLEMENTATION] = implementation


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse to run the suite against nothing."""
    if IMPLEMENTATION not in config.stash and any(_row(item).group for item in items):
        raise pytest.UsageError("say which implementation to check: --gym-url http://127.0.0.1:5000")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Count the requests of a test, and skip it where the implementation serves nothing that it could ask."""
    implementation = item.config.stash.get(IMPLEMENTATION, None)
    before = 0 if implementation is None else implementation.requests
    try:
        return (yield)
    except NotServed as error:
        pytest.skip(str(error))
    finally:
        if implementation is not None:
            item.stash[REQUESTS] = implementation.requests - before


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, pytest.TestReport]:
    """Give a report of the suite its row, the error as it was raised, and how many requests there were."""
    report: pytest.TestReport = yield
    error = call.excinfo.value if call.excinfo is not None and not report.skipped else None
    vars(report).update(row=_row(item), error=error, requests=item.stash.get(REQUESTS, 0))
    return report


def _row(item: pytest.Item) -> ResultRow:
    module = getattr(item, "module", None)
    if module is None or not module.__name__.startswith(SUITE):
        return ResultRow("", "")
    marker = item.get_closest_marker("operation")
    callspec = getattr(item, "callspec", None)
    case = marker.args[0] if marker is not None else callspec.id if callspec is not None else ""
    sentence = inspect.getdoc(item.obj) if isinstance(item, pytest.Function) else None
    return ResultRow(module.__name__.rpartition("test_")[2], sentence or item.name, case)


@pytest.fixture(scope="session")
def implementation(request: pytest.FixtureRequest) -> Iterator[Implementation]:
    """The implementation under test; what was made there is closed at the end."""
    with request.config.stash[IMPLEMENTATION] as under_test:
        yield under_test


@pytest.fixture(scope="session")
def session(implementation: Implementation) -> Iterator[KitSession]:
    """The session that generated requests are sent by."""
    with KitSession(implementation) as kept:
        yield kept


@pytest.fixture(scope="session")
def caller(implementation: Implementation) -> Caller:
    """The operations of the contract."""
    return Caller(implementation)


@pytest.fixture(scope="module")
def pool(implementation: Implementation, caller: Caller) -> Iterator[Pool]:
    """Live instances for generated requests; they are closed before other checks need the room."""
    with implementation.closing():
        yield Pool(caller, ENV_IDS)


@pytest.fixture
def closed(implementation: Implementation) -> Iterator[None]:
    """Close at the end of a test what it made."""
    with implementation.closing():
        yield


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of the run."""
    seed: int = request.config.getoption("--gym-seed")
    return seed


@pytest.fixture(scope="session")
def with_uploads(request: pytest.FixtureRequest) -> bool:
    """Whether evaluations may be written."""
    return bool(request.config.getoption("--gym-with-uploads"))
