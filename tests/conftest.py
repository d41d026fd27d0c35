"""Fixtures: a server of each kind, shared by the tests of a file, which leave it as it was; and which tests are run."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from .support.cluster import TestCluster
from .support.serving import Server

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")

IMPORTS = ("--import", "ale_py", "--import", "tests.support.troublemakers")

KINDS = {
    "handover": ("--engine", "process"),
    "process": ("--engine", "process", "--no-handover"),
    "inline": ("--engine", "inline"),
}
"""Where environments run, and how requests come to them: on connections handed over, through a pipe, or by a call."""

USUAL = "handover"
"""The kind that stands for all of them where `--full` is not given."""

ROUTER = "router"
"""The further kind that the fixture `server` has: a router before three shards, which are servers of the kind `process` that
hand over as usual. A test asks it over HTTP alone: one that looks into a process, or at what its options do, starts its own."""

ROUTED_PLACES = ("tests/server/operations/", "tests/server/http/", "tests/conformity/test_wire.py")
"""Where tests are that a router is asked, too, with `--routed`."""

ROUTED_FILES = (
    *(
        f"tests/server/operations/test_{name}.py"
        for name in ("batches", "compliance", "holds", "idempotency", "live", "metadata")
    ),
    "tests/server/http/test_bad_input.py",
    "tests/conformity/test_wire.py",
)
"""The files of these that ask it without: they say most for their time."""

LONG_MARKS = ("full", "browser", "languages", "ray")
LONG_FOLDERS = ("tests/cluster/", "tests/conformity/", "tests/handover/", "tests/server/load/")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="also run what takes long or needs programs that pip does not install"
    )
    parser.addoption("--routed", action="store_true", help="with --full: ask a router all that it can be asked")


def pytest_xdist_auto_num_workers() -> int:
    """Return three workers for every two processors: a third of a test's time is waiting."""
    return max(1, (os.cpu_count() or 1) * 3 // 2)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave folders of long tests unread without `--full`: each worker would generate the contract's cases for nothing."""
    folder = f"{collection_path.relative_to(config.rootpath).as_posix()}/"
    return True if folder in LONG_FOLDERS and not config.getoption("full") else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what is long to `--full`, which begins with it: begun last, a long file would keep one worker alone."""
    # pytest-xdist would run one of several tests that are called alike.
    assert len({item.nodeid for item in items}) == len(items)
    for item in items:
        if item.nodeid.startswith(LONG_FOLDERS) or kinds_of(item) - {USUAL}:
            item.add_marker("full")
    is_full, routed = config.getoption("full"), ROUTED_PLACES if config.getoption("routed") else ROUTED_FILES
    left_out = {
        item
        for item in items
        if (not is_full and any(map(item.get_closest_marker, LONG_MARKS)))
        or (ROUTER in kinds_of(item) and not item.nodeid.startswith(routed))
    }
    config.hook.pytest_deselected(items=[item for item in items if item in left_out])
    items[:] = [item for item in items if item not in left_out]
    items.sort(key=lambda item: not item.nodeid.startswith(LONG_FOLDERS))


def kinds_of(item: pytest.Item) -> set[str]:
    """Return the kinds of servers that a test is given."""
    params = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    # By its type: some tests are given objects that raise whatever they are asked.
    return {
        value
        for name, value in params.items()
        if type(value) is str and (value in KINDS or (name, value) == ("server", ROUTER))
    }


UPLOADS = Path(tempfile.gettempdir()) / f"gym-http-server-tests-{os.getpid()}"


@pytest.fixture(scope="session", autouse=True)
def _without_uploads() -> Iterator[None]:
    """Leave nothing of what was uploaded."""
    yield
    shutil.rmtree(UPLOADS, ignore_errors=True)


def start(kind: str, *arguments: str, environment: dict[str, str] | None = None) -> Server:
    """Return a server of a kind; one with hand-over hands every connection over at once."""
    module = "tests.support.eager" if kind == "handover" else "gym_http_server"
    # Evaluations would lie in the working directory.
    results = () if "--results-root" in arguments or "--upload-to" in arguments else ("--upload-to", str(UPLOADS))
    return Server(*KINDS[kind], *arguments, *results, *IMPORTS, module=module, environment=environment)


@contextlib.contextmanager
def start_router() -> Iterator[Server]:
    """Start a router before three shards; clients that would go to a shard directly go through it, too."""
    with TestCluster(3, options=("--no-direct",), shard_options=("--upload-to", str(UPLOADS), *IMPORTS)) as cluster:
        yield cluster.router


class SharedServers:
    """The servers that files share, by kind: a start takes as long as a hundred requests."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._stack = stack
        self._running: dict[str, Server] = {}

    def lend(self, kind: str) -> Iterator[Server]:
        """Lend a file the server of a kind, and close the instances that the file leaves."""
        running = self._running.get(kind)
        if running is None or running.process.poll() is not None:
            started = start_router() if kind == ROUTER else start(kind)
            running = self._running[kind] = self._stack.enter_context(started)
        yield running
        if running.process.poll() is None:
            for instance_id in running.get("/v1/envs/").json["envs"]:
                running.request("DELETE", f"/v1/envs/{instance_id}/")


@pytest.fixture(scope="session")
def _servers() -> Iterator[SharedServers]:
    with contextlib.ExitStack() as stack:
        yield SharedServers(stack)


@pytest.fixture(scope="module", params=[*KINDS, ROUTER])
def server(request: pytest.FixtureRequest, _servers: SharedServers) -> Iterator[Server]:
    """A server of each kind."""
    yield from _servers.lend(request.param)


@pytest.fixture(scope="module", params=["handover", "process"])
def process_server(request: pytest.FixtureRequest, _servers: SharedServers) -> Iterator[Server]:
    """A server of the `process` engine, for environments that misbehave."""
    yield from _servers.lend(request.param)


@pytest.fixture(scope="module")
def language_server() -> Iterator[Server]:
    """A server that hands every connection over at once and keeps ours while a client is built."""
    with start("handover", "--keep-alive", "3600") as running:
        yield running
        assert running.get("/v1/envs/").json["envs"] == {}
