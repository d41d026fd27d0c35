"""The conformity kit: it passes right implementations, tells what is wrong with others, and spares whoever is checked."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme

from gym_http_server.conformity.contract import DOCUMENT
from gym_http_server.conformity.exchange import Request
from gym_http_server.conformity.implementation import Implementation
from gym_http_server.conformity.ledger import MAX_INSTANCES
from gym_http_server.conformity.plugin import SUITE
from gym_http_server.conformity.suite.trajectories import play_locally

from ..conftest import KINDS, start
from ..support.reverse_proxy import Passing, ReverseProxy, nothing
from ..support.serving import Server, eventually
from ..support.wrong import WRONG, each_of

KEY = "a-key-of-tests"


def command(url: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "gym_http_server", "check", url, "--examples", "2", *arguments]


def check(cwd: Path, url: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(
        command(url, *arguments), capture_output=True, text=True, timeout=240, cwd=cwd, env=environment
    )


def of(*operations: str) -> list[str]:
    """Return the arguments that have the group `schema` generate requests for some operations only, which takes a fifth of its time."""
    return ["--only", "schema", *(word for operation in operations for word in ("--operation", operation))]


def only(*groups: str) -> list[str]:
    """Return the arguments that choose groups."""
    return [word for group in groups for word in ("--only", group)]


def results(output: str, result: str) -> list[str]:
    """Return the checks with a result, each by its operation or case, else by its test's name."""
    names = re.findall(rf"^test_\w+\.py::(.+?) {result.upper()}\b", output, re.MULTILINE)
    return [re.sub(r"^test_operation_|^\w+\[|\]$", "", name) for name in names]


def refused(served: bytes, passing: Passing) -> None:
    """Know only environments in whose id there is something."""
    if passing.method == "POST" and passing.path.rstrip("/") == "/v1/envs" and served not in passing.body:
        text = "Attempted to look up malformed environment ID: there are none here"
        problem = {"type": "about:blank", "title": "Bad request", "status": 400, "detail": text, "message": text}
        passing.status, passing.reply = 400, json.dumps(problem).encode()
        passing.reply_headers = {"content-type": "application/problem+json"}


@pytest.fixture(scope="module", autouse=True)
def _tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hypothesis computes its tables of Unicode once for all runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HYPOTHESIS_STORAGE_DIRECTORY", str(tmp_path_factory.mktemp("tables")))
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results root of the servers."""
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, root: Path) -> Iterator[Server]:
    """A server of each kind."""
    with start(request.param, "--results-root", str(root)) as running:
        yield running


@pytest.fixture(scope="module")
def right(root: Path) -> Iterator[Server]:
    """A server behind which wrong ones hide."""
    with start("inline", "--results-root", str(root)) as running:
        yield running


@pytest.mark.parametrize("kind", ["handover"], indirect=True)
def test_a_right_implementation_passes(kind: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check of every group passes; nothing is left of it, here or there."""
    monkeypatch.delenv("HYPOTHESIS_STORAGE_DIRECTORY")
    done = check(tmp_path, kind.url, "--with-uploads")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert results(done.stdout, "failed") == []
    assert results(done.stdout, "skipped") == ["test_access", "shutdownServer"]
    passed = results(done.stdout, "passed")
    assert {"createEnv", "uploadRecording", "CartPole-v1", "FrozenLake-v0", "Haskell", "closed"} <= set(passed)
    assert len(passed) == len(re.findall(r" PASSED, [\d,]+ requests, [\d.]+ s ", done.stdout))
    assert kind.get("/v1/envs/").json["envs"] == {}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["process", "inline"], indirect=True)
def test_a_right_implementation_of_another_kind_passes(kind: Server, tmp_path: Path) -> None:
    """So does a server of each other kind; `test_wire.py` has the sessions of old clients for all of them."""
    done = check(tmp_path, kind.url, *only("sequences", "trajectories"))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert results(done.stdout, "failed") == results(done.stdout, "skipped") == []
    assert {"CartPole-v1", "FrozenLake-v0", "closed"} <= set(results(done.stdout, "passed"))
    assert kind.get("/v1/envs/").json["envs"] == {}


TOUCHING = [
    operation["operationId"]
    for path, item in DOCUMENT["paths"].items()
    if path.startswith(("/v1/envs/", "/v1/leases/", "/v1/upload/", "/v1/recordings/", "/v1/shutdown/"))
    for operation in item.values()
    if "operationId" in operation
]
"""Operations that are about instances or directories, or stop the server."""


def test_a_deployment_behind_a_proxy_is_spared(tmp_path: Path, root: Path) -> None:
    """Below a path and with a key it passes; requests never stop it, touch another's instance or name a directory of it."""
    seen: list[tuple[str, str, Any]] = []
    alive: set[str] = set()
    most = 0

    def record(passing: Passing) -> None:
        nonlocal most
        if passing.headers.get("content-type") == "application/json" and passing.body[:1] == b"{":
            seen.append((passing.method, passing.path, json.loads(passing.body)))
        else:
            seen.append((passing.method, passing.path, None))
        if passing.reply_headers is not None and passing.status == 200:
            if (passing.method, passing.path.rstrip("/")) == ("POST", "/v1/envs"):
                alive.add(json.loads(passing.reply)["instance_id"])
            if passing.method == "DELETE" or passing.path.rstrip("/").endswith("/close"):
                alive.discard(passing.path.split("/")[3])
            most = max(most, len(alive))

    with (
        start("process", "--results-root", str(root), "--api-key", KEY) as server,
        ReverseProxy(server.address, "/lab/gym", after=record) as proxy,
    ):
        server.key = KEY
        another = server.create("CartPole-v1", seed=1)
        before = server.get(f"{another}/").json
        groups = [*of(*TOUCHING), *only("sequences", "wire")]
        done = check(tmp_path, f"{proxy.url}/", *groups, GYM_HTTP_SERVER_API_KEY=KEY)
        assert server.get(f"{another}/").json == before
        assert list(server.get("/v1/envs/").json["envs"]) == [before["instance_id"]]
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert KEY not in done.stdout
    assert sorted(results(done.stdout, "skipped"))[-3:] == ["shutdownServer", "test_upload", "uploadRecording"]
    assert len(seen) > 1000
    assert 3 < most <= MAX_INSTANCES
    assert alive == set()
    for _, path, body in seen:
        assert "shutdown" not in path
        assert another not in path
        for directory in ((body or {}).get(name) for name in ("directory", "training_dir")):
            assert not isinstance(directory, str) or directory == "" or re.fullmatch(r"conformity-\w+/\d+", directory)
        if path.startswith("/v1/upload"):
            assert not {"training_dir", "api_key"} <= {name for name, value in body.items() if value}


def test_a_deployment_with_a_certificate_is_checked(tmp_path: Path, root: Path) -> None:
    """A server that speaks TLS is trusted where its authority is, by written checks and by generated ones."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(root / "authority.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(root / "both.pem"))
    arguments = ("--only", "wire", "--only", "sequences", "--examples", "1")
    with start("inline", "--results-root", str(root), "--tls-cert", str(root / "both.pem")) as server:
        meant_for_others = {"PYTEST_ADDOPTS": "--no-such-option", "PYTEST_PLUGINS": "no_such_plugin", "CI": "true"}
        trusted = {"SSL_CERT_FILE": str(root / "authority.pem")}
        done = check(tmp_path, server.url, *arguments, **trusted, **meant_for_others)
        refused = check(tmp_path, server.url, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr


TELLING = [
    ("a reward that is an integer", "wire", "Julia", "reward of type float"),
    ("replies that lack what is required", "schema", "stepEnv", '"done" is a required property'),
    ("replies that lack what is required", "schema", "createEnv", '"message" is a required property'),
    ("replies that lack what is required", "schema", "closeEnv", "Received: 204"),
    ("no message", "wire", "Lua", "'message' is a required property"),
    ("info null", "wire", "Rust", "$.info: None for not nullable"),
    ("a list under n", "wire", "Swift", "[2] is not of type 'integer'"),
    ("404 for an unknown instance", "sequences", "never made", "expected: 400"),
    ("204 where there is nothing to say", "wire", "C++", "monitor/start/ answered 204"),
    ("compressed unasked", "wire", "test_compression", "Content-Encoding: gzip"),
    ("a redirect for a missing slash", "wire", "test_slashes", "307"),
    ("a redirect for a missing slash", "wire", "Haskell", "307"),
    ("a seed that is ignored", "trajectories", "CartPole-v1", "(the first)"),
    ("a step done twice, and none kept", "trajectories", "test_monitor_of_steps[full]", "trajectory_bytes > 0"),
    ("a step done twice, and none kept", "trajectories", "test_sent_again", "the same reply each time"),
]


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_implementation_fails(right: Server, tmp_path: Path, wrong: str) -> None:
    """What is wrong is told by the group and the check that it belongs to, with what was expected and what came."""
    telling = [each[1:] for each in TELLING if each[0] == wrong]
    groups = {each[0] for each in telling}
    operations = {row for group, row, _ in telling if group == "schema"} | {"getHealth"}
    changes = {"before": nothing, **WRONG[wrong]}
    if groups == {"trajectories"}:
        # One environment tells as much as four.
        changes["before"] = each_of(changes["before"], partial(refused, b"CartPole-v1"))
    with ReverseProxy(right.address, **changes) as proxy:
        done = check(tmp_path, proxy.url, *(of(*sorted(operations)) if groups == {"schema"} else only(*groups)))
    assert (done.returncode, done.stderr) == (1, ""), done.stdout
    table, _, found = done.stdout.partition("= FAILURES =")
    for group, row, words in telling:
        failed = re.findall(rf"^test_{group}\.py::(.+) FAILED, ", table, re.MULTILINE)
        assert any(row in name for name in failed)
        assert words in " ".join(found.split())
    assert results(table, "passed"), "one thing was wrong, not all of them"
    assert "the kit itself failed" not in found
    assert "\ncurl -i " in found or wrong == "a seed that is ignored"
    assert right.get("/v1/envs/").json["envs"] == {}


def test_what_is_not_served_is_skipped(right: Server, tmp_path: Path) -> None:
    """An implementation need not have every environment; which are not held, and why, is told, and nothing held is a 2."""
    for served, groups, status in ((b"CartPole-v1", of("stepEnv"), 0), (b"none", [], 2)):
        with ReverseProxy(right.address, before=partial(refused, served)) as proxy:
            done = check(tmp_path, proxy.url, *groups, *only("trajectories"))
        assert (done.returncode, done.stderr) == (status, ""), done.stdout
        assert "FrozenLake-v0" in results(done.stdout, "skipped")
        assert "FrozenLake-v0" not in results(done.stdout, "passed")
        assert "(not served there: Attempted to look up malformed environment ID" in " ".join(done.stdout.split())
        assert ("CartPole-v1" in results(done.stdout, "passed")) == (status == 0)


def test_where_no_environment_is_known_the_rest_is_held(right: Server, tmp_path: Path) -> None:
    """Operations that need an instance are skipped, and the others are checked."""
    with ReverseProxy(right.address, before=partial(refused, b"none")) as proxy:
        needing, others = {"stepEnv", "stepBatch", "closeEnv"}, {"createEnv", "getHealth", "listEvaluations"}
        done = check(tmp_path, proxy.url, *of(*sorted(needing | others)), "--examples", "1")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert needing <= set(results(done.stdout, "skipped"))
    assert others <= set(results(done.stdout, "passed"))


LONG = ("listEnvs", "rollout", "resetBatch")
"""Operations of which the first is soon done, and the others need instances and time."""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_was_made_is_closed_when_it_is_stopped(right: Server, tmp_path: Path, number: int) -> None:
    """Ctrl-C and SIGTERM end a run, and every instance of it; what was found until then is told."""
    with subprocess.Popen(
        command(right.url, "--examples", "40", *of(*LONG)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        text=True,
    ) as running:
        try:
            eventually(lambda: len(right.get("/v1/envs/").json["envs"]) >= 3, 120)
            running.send_signal(number)
            output, errors = running.communicate(timeout=60)
        finally:
            running.kill()
    assert (running.returncode, errors) == (130, "")
    assert right.get("/v1/envs/").json["envs"] == {}
    assert "listEnvs" in results(output, "passed")
    assert f"! KeyboardInterrupt: stopped before the end by {signal.Signals(number).name} !" in output


def test_a_signal_that_python_loses_stops_it_all_the_same(right: Server, tmp_path: Path) -> None:
    """No further test begins where SIGTERM came while the garbage collector called back, which loses the exception."""
    program = f"""
        import gc, os, signal, sys
        from gym_http_server.cli import main

        def stop(phase, info):
            if "{SUITE}.test_schema" in sys.modules:
                gc.callbacks.remove(stop)
                os.kill(os.getpid(), signal.SIGTERM)

        gc.callbacks.append(stop)
        main({command(right.url, *of("getHealth"))[3:]})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert (done.returncode, done.stderr) == (130, "")
    assert "! KeyboardInterrupt: stopped before the end by SIGTERM !" in done.stdout
    assert right.get("/v1/envs/").json["envs"] == {}


def test_what_was_made_without_an_answer_is_closed(right: Server, tmp_path: Path) -> None:
    """An instance whose creation the kit never heard of again is asked for by its key at the end, and closed."""
    made = itertools.count()

    def silence(passing: Passing) -> None:
        is_creation = (passing.method, passing.path.rstrip("/"), passing.status) == ("POST", "/v1/envs", 200)
        if is_creation and 4 <= next(made) < 20:
            raise ConnectionAbortedError

    with ReverseProxy(right.address, before=partial(refused, b"CartPole-v1"), after=silence) as proxy:
        done = check(tmp_path, proxy.url, *of("createEnv", "deleteEnv"), *only("trajectories"), "--examples", "1")
    assert next(made) > 20
    assert (done.returncode, done.stderr) == (1, ""), done.stdout
    assert "expected: an answer" in done.stdout
    assert "may be left" not in done.stdout
    assert right.get("/v1/envs/").json["envs"] == {}


def test_output_that_nobody_reads_any_more_ends_it(right: Server, tmp_path: Path) -> None:
    """With a reader such as `head` it stops without a word, as of SIGPIPE, and closes what it made."""
    with subprocess.Popen(
        command(right.url, *of("createEnv"), *only("wire")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        text=True,
    ) as running:
        try:
            assert running.stdout.readline().startswith(right.url)
            running.stdout.close()
            errors = running.stderr.read()
            assert (running.wait(60), errors) == (141, "")
        finally:
            running.kill()
    assert right.get("/v1/envs/").json["envs"] == {}


def test_a_server_that_ends_meanwhile_ends_it(tmp_path: Path, root: Path) -> None:
    """It is told in words, with the status of what cannot be checked, and not as failures of what is left to check."""
    with (
        start("inline", "--results-root", str(root)) as server,
        subprocess.Popen(
            command(server.url, "--examples", "20", *of(*LONG)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            text=True,
        ) as running,
    ):
        try:
            eventually(lambda: len(server.get("/v1/envs/").json["envs"]) >= 3, 120)
            server.process.kill()
            output, errors = running.communicate(timeout=60)
        finally:
            running.kill()
    assert running.returncode == 2, output
    assert errors.startswith(f"gym-http-server: {server.url} stopped answering")
    assert errors.count("\n") == 1
    assert "Exit: it stopped answering in call of test_" in output
    assert results(output, "failed") == []
    assert "listEnvs" in results(output, "passed")
    assert "Max retries" not in output + errors


SNAPSHOTS = ("createSnapshot", "listSnapshots", "restoreSnapshot", "deleteSnapshot")

DOCUMENTED_LIMITS = [
    (("--strict-env-ids", "--max-snapshots", "2"), [*only("wire"), *of("createEnv", "resetEnv", *SNAPSHOTS)], set()),
    (
        ("--max-snapshots", "0", "--max-lanes", "1"),
        of("createEnv", "resetBatch", "stepBatch", "rollout", *SNAPSHOTS),
        {"restoreSnapshot", "deleteSnapshot", "resetBatch", "stepBatch"},
    ),
    (("--max-envs", "10", "--max-lanes", "2"), only("trajectories"), {"CartPole-v1", "FrozenLake-v0"}),
]


@pytest.mark.parametrize(("settings", "groups", "skipped"), DOCUMENTED_LIMITS)
def test_a_deployment_with_limits_conforms(
    tmp_path: Path, root: Path, settings: tuple[str, ...], groups: list[str], skipped: set[str]
) -> None:
    """What a documented setting stands in the way of is skipped with the reason, or held in another way."""
    with start("inline", "--results-root", str(root), *settings) as server:
        done = check(tmp_path, server.url, *groups)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert results(done.stdout, "failed") == []
    assert skipped <= set(results(done.stdout, "skipped"))
    assert ("limit" in done.stdout) == bool(skipped)
    if "wire" in groups:
        assert {"Python", "Julia", "Haskell"} <= set(results(done.stdout, "passed"))


@pytest.mark.parametrize("name", ["pytest", "schemathesis", "openapi_schema_validator"])
def test_a_missing_package_is_one_line(tmp_path: Path, name: str) -> None:
    """It says how to install it."""
    code = (
        f"import sys; sys.modules[{name!r}] = None; from gym_http_server.cli import main; main(['check', 'http://x'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert name in done.stderr
    assert f"{sys.executable} -m pip install '{name.replace('_', '-')}>=" in done.stderr


def test_help_loads_nothing_that_checks(tmp_path: Path) -> None:
    """The command line is as quick to start as without the kit."""
    heavy = ("pytest", "schemathesis", "hypothesis", "requests", "rich", "connexion", "gymnasium", "ssl")
    code = (
        "import sys; from gym_http_server.cli import command; command().main(['check', '--help'], standalone_mode=False);"
        f"print([each for each in {heavy} if each in sys.modules])"
    )
    output = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=tmp_path)
    assert output.splitlines()[-1] == "[]"
    assert "--with-uploads" in output


def test_what_cannot_be_checked_is_one_line(right: Server, tmp_path: Path, unused_tcp_port: int) -> None:
    """Nobody there, somebody else, no URL, no key: each exits with 2 and says what to do."""
    with (
        start("inline", "--api-key", KEY) as closed,
        ReverseProxy(right.address, "/elsewhere") as proxy,
    ):
        for url, arguments, words in (
            (f"http://127.0.0.1:{unused_tcp_port}", (), "is the server running there?"),
            (proxy.url.removesuffix("/elsewhere"), (), "is the path of the URL right?"),
            ("127.0.0.1:5000", (), "is not the address of a server"),
            (closed.url, (), "requires a key: --api-key"),
            (closed.url, ("--api-key", "another"), "requires another key"),
            (right.url, ("--only", "nothing"), "'nothing' is not one of"),
            (right.url, ("--operation", "nothing"), "--operation nothing is no operation of the contract"),
        ):
            done = check(tmp_path, url, *arguments)
            assert (done.returncode, done.stdout) == (2, "")
            assert words in done.stderr
            assert done.stderr.count("\n") == 1


def test_the_suite_is_one_of_pytest(right: Server, tmp_path: Path) -> None:
    """With the plugin the suite runs in anybody's pytest, and asks for the URL."""
    suite = ["--pyargs", "gym_http_server.conformity.suite.test_wire", "-p", "no:cacheprovider", "-q"]
    pytest_ = [sys.executable, "-m", "pytest", "-p", "gym_http_server.conformity.plugin", *suite]
    done = subprocess.run([*pytest_, "--gym-url", right.url], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stdout
    assert re.search(r"\d+ passed, 1 skipped", done.stdout)
    without = subprocess.run(pytest_, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert without.returncode == pytest.ExitCode.USAGE_ERROR
    assert "--gym-url http://127.0.0.1:5000" in without.stderr


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/shutdown/"),
        ("POST", "/v1/shutdown"),
        ("GET", "/v1/envs/5f2b9c1e/"),
        ("DELETE", "/v1/envs/5f2b9c1e"),
        ("POST", "/v1/envs/%35f2b9c1e/close/"),
        ("POST", "/v1/envs/0/step/"),
    ],
)
def test_a_deployment_is_spared_whatever_the_checks_do(method: str, path: str) -> None:
    """Before anything is sent it is refused to stop the server or to ask something of an instance that is not the kit's."""
    with Implementation("http://127.0.0.1:1") as under_test, pytest.raises(PermissionError):
        under_test.ask(Request(method, path))
    assert under_test.requests == 0


def test_a_trajectory_of_another_version_is_not_compared() -> None:
    """Where the library is another or of another version, both are named."""
    assert "gymnasium 0.1 there, gymnasium" in str(play_locally("CartPole-v1", "gymnasium 0.1", [], 0))
