"""The key: who needs one, how it is given and compared, what it opens, and where it is never seen."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_http_server.api.guard.keys import key_for
from gym_http_server.api.guard.security import Access, Guard
from gym_http_server.client import Client, ServerProblem
from gym_http_server.config import Settings
from gym_http_server.contract import load_contract
from gym_http_server.errors import AccessError
from tests.conftest import start
from tests.support.handing import TROUBLE, owner_of, post, step
from tests.support.handing import Client as RawClient
from tests.support.serving import ROOT, Server, eventually, parse_response, raw

KEY = "correct-horse-battery-staple"
HANDOVER_WITH_KEY = ("--handover", "--api-key", KEY)

PAGES = ("/", "/scoreboard", "/ui/", "/openapi.yaml", "/openapi.json", "/static/console.css", "/nope", "/metrics")


@pytest.fixture(scope="module", params=["handover", "process", "inline"])
def locked(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind that requires a key; the first hands connections over all the same."""
    further = ("--handover",) if request.param == "handover" else ()
    with start(request.param, "--api-key", KEY, *further) as running:
        running.key = KEY
        yield running


def asked(server: Server, method: str, path: str, *lines: str):
    head = "".join(
        f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *lines)
    )
    return parse_response(raw(server.address, head.encode() + b"\r\n"))


HEALTH = ("getHealth", "getOpenenvHealth")
"""The operationIds of the operations that need no key."""


def test_every_operation_needs_the_key_but_the_health(locked: Server) -> None:
    """Without a key each operation of the contract is a 401 that says how to send it; the health answers."""
    for template, item in load_contract().document["paths"].items():
        path = template.replace("{instance_id}", "0a1b2c3d").replace("{evaluation_id}", "x").replace("{x}", "1")
        path = path.replace("{env_id}", "CartPole-v1")
        for method in ("GET", "POST", "DELETE"):
            if method.lower() not in item:
                continue
            answer = asked(locked, method, path)
            if item[method.lower()]["operationId"] in HEALTH:
                assert answer.status == 200
                continue
            assert answer.status == 401, (method, path)
            assert answer.headers["www-authenticate"] == 'Bearer realm="gym-http-server"'
            assert "Authorization: Bearer" in answer.message
            assert answer.json["type"] == "urn:gym-http-server:problem:unauthorized"


@pytest.mark.parametrize("path", PAGES)
def test_every_page_and_file_needs_the_key(locked: Server, path: str) -> None:
    """Without a key no page and no file is served, for whatever one asks."""
    for line in ("Accept: text/html", "Accept: */*"):
        answer = asked(locked, "GET", path, line)
        assert answer.status == 401
        assert "www-authenticate" in answer.headers
    assert asked(locked, "GET", path, f"Authorization: Bearer {KEY}").status in (200, 404)


WRONG = (
    "", "Bearer", "Bearer ", f"Bearer {KEY[:-1]}", f"Bearer {KEY}x", f"Bearer {KEY.upper()}", f"Basic {KEY}", KEY,
    f"Bearer {KEY} {KEY}", "Bearer \xe9", f"Bearer\t{KEY}", "Bearer " + "x" * 10_000,
)  # fmt: skip


def test_another_key_is_refused(locked: Server) -> None:
    """A part of the key, more than it, another case or scheme are a 401, and so is what is no key at all."""

    def send(value: str) -> int:
        head = f"GET /v1/envs/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {value}\r\n\r\n"
        return parse_response(raw(locked.address, head.encode("latin-1"))).status

    # At the same time, for the answers to guesses are slow.
    with ThreadPoolExecutor(len(WRONG)) as pool:
        assert dict(zip(WRONG, pool.map(send, WRONG), strict=True)) == dict.fromkeys(WRONG, 401)


def test_the_key_opens_everything(locked: Server) -> None:
    """With the key a session goes as on an open server, whatever the case of the scheme."""
    env = locked.create(TROUBLE)
    locked.post(f"{env}/reset/")
    for _ in range(5):
        assert locked.post(f"{env}/step/", {"action": "x"}).status == 200
    assert asked(locked, "GET", "/v1/envs/", f"authorization: bEARER {KEY}").status == 200
    locked.post(f"{env}/close/")


def test_a_connection_without_the_key_cannot_use_one_that_had_it(locked: Server) -> None:
    """Each request shows the key: one without it is refused also after others on the same connection, wherever that is."""
    with RawClient(locked) as client:
        line = f"Authorization: Bearer {KEY}\r\n".encode()
        env = f"/v1/envs/{client.ask(post('/v1/envs/', {'env_id': TROUBLE}, line)).json['instance_id']}"
        client.ask(post(f"{env}/reset/", {}, line))
        assert client.ask(step(env, "x", line)).json["observation"] == 1
        assert client.ask(step(env, "x")).status == 401
        assert client.ask(step(env, "x", b"Authorization: Bearer nope\r\n")).status == 401
        assert client.ask(step(env, "x", line)).json["observation"] == 2
        client.ask(post(f"{env}/close/", {}, line))


def test_connections_with_a_key_are_handed_over_only_where_that_is_asked_for() -> None:
    """An environment could read the key on its connection: without --handover it gets none, with it a digest of the key."""
    line = f"Authorization: Bearer {KEY}\r\n".encode()
    for options, is_handed_over in (((), False), (("--handover",), True)):
        with start("handover", "--api-key", KEY, *options) as server, RawClient(server) as client:
            env = f"/v1/envs/{client.ask(post('/v1/envs/', {'env_id': TROUBLE}, line)).json['instance_id']}"
            client.ask(post(f"{env}/reset/", {}, line))
            client.ask(step(env, "x", line))
            assert (owner_of(server, client) is not None) == is_handed_over


def test_a_server_beyond_loopback_makes_a_key_and_prints_it_once() -> None:
    """It is long, on stdout and not in the log, another one in each run, and required."""
    keys = set()
    for _ in range(2):
        with Server("--listen", "0.0.0.0") as server:
            assert len(server.key) >= 40
            keys.add(server.key)
            assert server.get("/v1/envs/").status == 200
            assert asked(server, "GET", "/v1/envs/").status == 401
            assert not any(server.key in line for line in (*server.stderr, *server.banner))
    assert len(keys) == 2


def test_a_server_on_loopback_is_open() -> None:
    """On loopback nobody needs a key, by whatever name it listens."""
    for name in ("127.0.0.1", "localhost", "127.0.0.2"):
        with Server("--listen", name) as server:
            assert server.key == ""
            assert server.get("/v1/envs/").status == 200


def test_no_auth_opens_a_server_with_a_warning() -> None:
    """--no-auth has a server beyond loopback require nothing, and its log says what that means."""
    with Server("--listen", "0.0.0.0", "--no-auth") as server:
        assert asked(server, "GET", "/v1/envs/").status == 200
        eventually(lambda: any("requires no key" in line for line in server.stderr))


def test_the_key_comes_from_a_file_or_a_variable_as_well(tmp_path: Path) -> None:
    """--api-key-file names a file whose end of line does not count; the variable keeps the key out of the arguments."""
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    for arguments, variables in ((("--api-key-file", str(file)), {}), ((), {"GYM_HTTP_SERVER_API_KEY": KEY})):
        with Server(*arguments, environment=variables) as server:
            assert asked(server, "GET", "/v1/envs/").status == 401
            assert asked(server, "GET", "/v1/envs/", f"Authorization: Bearer {KEY}").status == 200


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--api-key", KEY, "--no-auth"], "--no-auth"),
        (["--api-key", "zwei worte"], "visible ASCII"),
        (["--api-key", "schl\u00fcssel"], "visible ASCII"),
        (["--api-key-file", "/nonexistent/key"], "/nonexistent/key"),
        (["--api-key-file", "/dev/null"], "empty"),
        (["--api-key", KEY, "--api-key-file", "/dev/null"], "--api-key-file"),
        (["--trusted-proxy", "proxy.example"], "proxy.example"),
    ],
)
def test_a_key_that_cannot_be_used_is_one_line_that_does_not_show_it(arguments: list[str], words: str) -> None:
    """The server does not start, and says why without repeating the key."""
    done = subprocess.run(
        [sys.executable, "-m", "gym_http_server", "-p", "0", *arguments],
        capture_output=True, text=True, timeout=60, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert words in done.stderr
    assert KEY not in done.stderr
    assert "zwei worte" not in done.stderr


def test_a_short_key_is_warned_of() -> None:
    """Somebody could guess it, and the log says so without showing it."""
    with Server("--api-key", "abc") as server:
        eventually(lambda: any("3 characters" in line for line in server.stderr))
        assert asked(server, "GET", "/v1/envs/", "Authorization: Bearer abc").status == 200


def test_the_key_is_seen_nowhere(tmp_path: Path) -> None:
    """It is in no log line, page, reply, argument of a child or environment of an instance, and not in the settings' text."""
    with start("handover", "--handover", "--log-level", "debug", "--upload-to", str(tmp_path),
               "--api-key-file", _file(tmp_path)) as server:  # fmt: skip
        server.key = KEY
        env = server.create(TROUBLE)
        server.post(f"{env}/reset/")
        told = server.post(f"{env}/step/", {"action": "pid"}).json["info"]
        pages = [server.get(path, check=False).body for path in ("/", "/v1/envs/", f"{env}/", "/v1/health/", "/nope")]
        asked(server, "GET", f"/v1/envs/?key={KEY}x")
        children = psutil.Process(server.process.pid).children(recursive=True)
        seen = [*pages, *(" ".join([*each.cmdline(), *each.environ().values()]).encode() for each in children)]
        assert told["variables"] == []
    assert not [each for each in seen if KEY.encode() in each]
    assert not [line for line in server.stderr if KEY in line]
    assert KEY not in repr(Settings(api_key=KEY))


def _file(folder: Path) -> str:
    (folder / "key").write_text(KEY)
    return str(folder / "key")


@pytest.mark.parametrize("where", ["header", "form"])
def test_wrong_keys_are_logged_but_not_each(where: str) -> None:
    """Who guesses keys shows in the log, with his address and without what he guessed, at most once a second."""
    with Server("--api-key", KEY) as server:
        # Five are answered at once, and each further one waits a second longer than the one before.
        for number in range(7):
            if where == "header":
                answer = asked(server, "GET", "/v1/envs/", f"Authorization: Bearer tr0ub4dor-{number}")
            else:
                form = {"Content-Type": "application/x-www-form-urlencoded"}
                answer = server.request("POST", "/login", f"key=tr0ub4dor-{number}".encode(), form, check=False)
            assert answer.status == 401
        lines = eventually(lambda: [line for line in server.stderr if "wrong key" in line])
        assert len(lines) <= 4
        assert "127.0.0.1" in lines[0]
        assert not any("tr0ub4dor" in line for line in server.stderr)


def test_the_python_client_sends_the_key(locked: Server) -> None:
    """With api_key it works, without it the problem says what is missing."""
    url = "http://{}:{}".format(*locked.address)
    with Client(url, api_key=KEY) as client:
        env = client.create_env("CartPole-v1")["instance_id"]
        client.reset_env(env)
        client.close_env(env)
    with Client(url) as client, pytest.raises(ServerProblem, match="requires a key") as caught:
        client.create_env("CartPole-v1")
    assert caught.value.status == 401


@given(st.text(min_size=1, max_size=40), st.text(max_size=40))
def test_only_the_key_is_accepted(key: str, other: str) -> None:
    """Of any two texts the one is accepted as the other only where they are the same."""
    access = Access.of(Settings(api_key=key))
    assert access.accepts(key)
    assert access.accepts(other) == (key == other)


def test_the_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is compared are digests, by hmac.compare_digest, so that no time tells how much of a guess is right."""
    compared = []

    def compare(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr("gym_http_server.api.guard.security.hmac.compare_digest", compare)
    guard = Guard(Access.of(Settings(api_key=KEY)))
    for guess in ("c", KEY[:10], KEY, KEY * 3):
        headers = [(b"host", b"localhost"), (b"authorization", f"Bearer {guess}".encode())]
        scope = {"http_version": "1.1", "method": "GET", "path": "/v1/envs/", "headers": headers}
        assert (guard.refusal(scope) is None) == (guess == KEY)
    assert compared == [(64, 64)] * 4


def test_a_key_is_required_by_where_a_server_listens() -> None:
    """All addresses must be loopback for a server to be open, in both families."""
    assert key_for(Settings(), ["127.0.0.1", "::1"]).text == ""
    for addresses in (["0.0.0.0"], ["::"], ["127.0.0.1", "10.0.0.1"], ["fe80::1%eth0"]):
        key = key_for(Settings(), addresses)
        assert key.is_made
        assert len(key.text) >= 40
    with pytest.raises(AccessError):
        key_for(Settings(api_key="a b"), ["127.0.0.1"])


def test_the_contract_declares_the_key() -> None:
    """A bearer scheme is declared, for every operation but the health, and each of them declares its 401."""
    document = load_contract().document
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    assert {"bearer": []} in document["security"]
    for item in document["paths"].values():
        for method, operation in item.items():
            if method in ("get", "post", "delete", "patch"):
                is_open = operation["operationId"] in HEALTH
                assert operation.get("security", document["security"]) == ([] if is_open else document["security"])
                assert ("401" in operation["responses"]) != is_open


def test_a_refused_body_is_not_read_into_the_next_request(locked: Server) -> None:
    """On a kept connection the request after a refused one with a body is answered."""
    body = json.dumps({"env_id": "x" * 100_000}).encode()
    head = f"POST /v1/envs/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    with RawClient(locked) as client:
        assert client.ask(head.encode() + b"\r\n" + body).status == 401
        assert client.ask(b"GET /v1/health/ HTTP/1.1\r\nHost: localhost\r\n\r\n").status == 200


def test_a_server_that_listens_on_every_address_is_reached_by_address() -> None:
    """An IP literal is no name that could be rebound, so it passes as Host."""
    with Server("--listen", "0.0.0.0") as server:
        own = socket.gethostbyname(socket.gethostname())
        for host in ("127.0.0.1", own, "[::1]:5000"):
            head = f"GET /v1/health/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            assert parse_response(raw(server.address, head.encode())).status == 200
