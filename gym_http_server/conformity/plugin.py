"""The pytest plugin: options, fixtures and reports of the suite.

pytest -p gym_http_server.conformity.plugin --gym-url http://127.0.0.1:5000 --pyargs gym_http_server.conformity.suite
"""

from __future__ import annotations

import inspect
import traceback
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis.errors import HypothesisException
from schemathesis.core.failures import Failure

from .caller import Caller
from .exchange import KEY_VARIABLE, Nonconformity, NotServed
from .generated.pool import Pool
from .generated.schema import budget
from .generated.session import KitSession
from .implementation import Implementation

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

SUITE = "gym_http_server.conformity.suite"
PROFILE = "gym-http-server"
"""The hypothesis profile of the suite's generated tests."""

CHOSEN_OPERATIONS: set[str] = set()
"""The operationIds for which requests are generated; empty for all."""

PHASES = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
"""Without shrinking, which takes a thousand requests and gains little."""

SEQUENCE_STEPS = 12
"""Calls of a sequence."""

ENV_IDS = ("CartPole-v1", "Pendulum-v1", "Blackjack-v1")
"""Small environments of three kinds of spaces, for generated requests."""

DEFAULT_EXAMPLES = 25
MAX_FINDINGS = 3
"""Distinct failures of one test that are reported."""

IMPLEMENTATION = pytest.StashKey[Implementation]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the suite."""
    group = parser.getgroup("gym-http-server", "gym-http-server's conformity kit")
    group.addoption("--gym-url", metavar="URL", help="the implementation of the contract to check")
    group.addoption(
        "--gym-api-key", metavar="KEY", help=f"its key; {KEY_VARIABLE} keeps it out of the list of processes"
    )
    group.addoption(
        "--gym-examples", metavar="N", type=int, default=DEFAULT_EXAMPLES, help="generated requests for each operation"
    )
    group.addoption("--gym-seed", metavar="N", type=int, default=0, help="seed of the trajectories")
    group.addoption(
        "--gym-timeout", metavar="SECONDS", type=float, default=60.0, help="seconds that an answer may take"
    )
    group.addoption(
        "--gym-operation", metavar="ID", action="append", default=[], help="generate requests for this operation only"
    )
    group.addoption("--gym-with-uploads", action="store_true", help="upload a recording, which writes an evaluation")


def pytest_configure(config: pytest.Config) -> None:
    """Read the options before the suite's modules are imported.

    Raises:
        UsageError: the URL is not the address of a server, or the key cannot be in a header.
    """
    # Based on hypothesis's default profile: it chooses another one in CI, and a seed has to repeat a run everywhere.
    defaults = hypothesis.settings.get_profile("default")
    settings = budget(
        config.getoption("--gym-examples"), defaults, stateful_step_count=SEQUENCE_STEPS, database=None, phases=PHASES
    )
    hypothesis.settings.register_profile(PROFILE, settings)
    CHOSEN_OPERATIONS.update(config.getoption("--gym-operation"))
    if url := config.getoption("--gym-url"):
        try:
            implementation = Implementation(url, config.getoption("--gym-api-key"), config.getoption("--gym-timeout"))
        except ValueError as error:
            raise pytest.UsageError(f"--gym-url: {error}") from None
        config.stash[IMPLEMENTATION] = implementation


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse to run the suite without an implementation."""
    if IMPLEMENTATION not in config.stash and any(map(_is_of_suite, items)):
        raise pytest.UsageError("say which implementation to check: --gym-url http://127.0.0.1:5000")
    for item in filter(_is_of_suite, items):
        # Generated tests are found in schemathesis's file, which pytest would print beside their names.
        item.location = (item.nodeid.partition("::")[0], *item.location[1:])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Count a test's requests; skip the test if the implementation does not serve what it needs."""
    implementation = item.config.stash.get(IMPLEMENTATION, None)
    if implementation is None or not _is_of_suite(item):
        return (yield)
    before = implementation.requests
    try:
        return (yield)
    except NotServed as error:
        pytest.skip(str(error))
    finally:
        item.user_properties.append(("requests", implementation.requests - before))


def pytest_report_teststatus(report: pytest.TestReport | pytest.CollectReport) -> tuple[str, str, str] | None:
    """Print the number of requests and seconds beside the result of a test."""
    properties = dict(report.user_properties) if isinstance(report, pytest.TestReport) else {}
    if report.when != "call" or report.skipped or "requests" not in properties:
        return None
    result = f"{report.outcome.upper()}, {properties['requests']:,} requests, {report.duration:.1f} s"
    return report.outcome, "." if report.passed else "F", result


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(
    node: pytest.Item | pytest.Collector,
    call: pytest.CallInfo[Any],
    report: pytest.TestReport | pytest.CollectReport,
) -> None:
    """Report a failure as what was expected and what came, instead of as Python's traceback."""
    if isinstance(node, pytest.Item) and _is_of_suite(node) and call.excinfo is not None:
        findings = list(dict(map(_finding, _leaves(call.excinfo.value))).values())
        sentence = inspect.getdoc(getattr(node, "obj", None)) or node.name
        report.longrepr = "\n\n".join([sentence, *findings[:MAX_FINDINGS]])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print how many requests were sent and what is left on the implementation's machine."""
    implementation = config.stash.get(IMPLEMENTATION, None)
    if implementation is None:
        return
    ledger = implementation.ledger
    terminalreporter.write_line(f"{implementation.requests:,} requests")
    if ledger.has_recordings:
        terminalreporter.write_line(f"recordings are left there below {ledger.results}")
    if ledger.alive:
        terminalreporter.write_line(f"these instances could not be closed: {', '.join(sorted(ledger.alive))}")
    if ledger.unanswered:
        terminalreporter.write_line(f"{len(ledger.unanswered)} creations had no answer: instances of them may be left")


def _is_of_suite(item: pytest.Item) -> bool:
    module = getattr(item, "module", None)
    return module is not None and module.__name__.startswith(SUITE)


def _leaves(error: BaseException) -> list[BaseException]:
    """Return the errors of a group and of the groups in it."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for nested in error.exceptions for leaf in _leaves(nested)]
    return [error]


def _finding(error: BaseException) -> tuple[str, str]:
    """Return a key, equal for errors of one cause, and the text to report."""
    if isinstance(error, Nonconformity):
        return f"{error.expected}\n{error.came}", str(error)
    if isinstance(error, Failure):
        return str(error), str(error)
    if isinstance(error, HypothesisException):
        reason = str(error).partition("\n")[0]
        text = "expected: the same answers when the same is sent again"
        return text, f"{text}\ncame:     others, so that hypothesis stopped ({reason})"
    frames = "".join(traceback.format_exception(error, limit=-2, chain=False))
    return str(error), f"the kit itself failed, which is a defect of it:\n{frames}"


@pytest.fixture(scope="session")
def implementation(request: pytest.FixtureRequest) -> Iterator[Implementation]:
    """The implementation under test; its instances are closed at the end."""
    with request.config.stash[IMPLEMENTATION] as implementation:
        yield implementation


@pytest.fixture(scope="session")
def session(implementation: Implementation) -> Iterator[KitSession]:
    """The session for generated requests."""
    with KitSession(implementation) as session:
        yield session


@pytest.fixture(scope="session")
def caller(implementation: Implementation) -> Caller:
    """The operations of the contract."""
    return Caller(implementation)


@pytest.fixture(scope="module")
def pool(implementation: Implementation, caller: Caller) -> Iterator[Pool]:
    """Live instances for the generated requests of a module."""
    with implementation.closing():
        yield Pool(caller, ENV_IDS)


@pytest.fixture
def closed(implementation: Implementation) -> Iterator[None]:
    """Close the instances of a test at its end."""
    with implementation.closing():
        yield


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of the run."""
    return int(request.config.getoption("--gym-seed"))


@pytest.fixture(scope="session")
def with_uploads(request: pytest.FixtureRequest) -> bool:
    """Whether evaluations may be written."""
    return bool(request.config.getoption("--gym-with-uploads"))
