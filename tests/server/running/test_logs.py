"""The log: what a line has, whose words are in it under which ids, and what is never in it."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_http_server import logs
from gym_http_server.api.problems import problem_of
from gym_http_server.api.refusals import Refusals
from gym_http_server.api.request import CURRENT, RequestContext, instance_in, sent_id
from gym_http_server.config import Settings
from tests.conftest import KINDS, start
from tests.support.handing import TROUBLE, Client, get, is_read, post, step
from tests.support.refused import REFUSED, TIME_OUTS
from tests.support.serving import Server, eventually, parse_response, raw

FIELDS = {"time", "level", "logger", "message", "request_id", "instance_id"}


def records(server: Server, logger: str) -> list[dict[str, Any]]:
    """Return the JSON records of a logger so far."""
    return [each for line in list(server.stderr) if (each := json.loads(line))["logger"] == logger]


@contextlib.contextmanager
def own_logging() -> Iterator[io.StringIO]:
    """Take the handlers away that pytest has given the root logger; yield a stream to log to."""
    root, levels = logging.getLogger(), {name: logging.getLogger(name).level for name in ("gym_http_server", "uvicorn")}
    before, root.handlers = root.handlers, []
    stream = io.StringIO()
    try:
        yield stream
    finally:
        root.handlers = before
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def configured(stream: io.StringIO, **options: Any) -> None:
    logs.configure(Settings(**options))
    [handler] = logging.getLogger().handlers
    handler.setStream(stream)


@pytest.fixture(scope="module")
def refusing() -> Iterator[Server]:
    """A server that logs each request, and soon loses patience."""
    with start("process", "--access-log", "--log-format", "json", *TIME_OUTS) as running:
        yield running


@pytest.mark.parametrize("kind", ["handover", "process"])
def test_what_an_environment_writes_is_logged_under_its_instance(kind: str) -> None:
    """Each line is a record with the id, and so is its end; both without the id of a request that is over."""
    with start(kind, "--log-format", "json") as server:
        env = server.create(TROUBLE)
        server.post(f"{env}/reset/")
        assert server.post(f"{env}/step/", {"action": "exit 3"}).status == 502
        [lost] = eventually(lambda: records(server, "gym_http_server.engines.process.worker"))
        lines = eventually(lambda: records(server, "gym_http_server.environment"))
        instance_id = env.rsplit("/", 1)[1]
        assert "exit code 3" in lost["message"]
        assert "last words of the environment" in " ".join(each["message"] for each in lines)
        for each in (lost, *lines):
            assert each.keys() == FIELDS
            assert each["instance_id"] == instance_id
            assert each["request_id"] is None
            assert each["level"] == "INFO"
            assert instance_id in each["message"]
            moment = dt.datetime.fromisoformat(each["time"])
            assert moment.utcoffset() == dt.timedelta()


@pytest.mark.parametrize("kind", KINDS)
def test_the_access_log_has_a_record_of_each_request(kind: str) -> None:
    """Method, path, status, time, bytes, client, operation and ids, on and off the hot path and for pages."""
    with start(kind, "--log-format", "json", "--access-log") as server:
        env = server.create()
        mine = server.post(f"{env}/reset/", b"{}", headers={"X-Request-Id": "mine-1"})
        plain = server.post(f"{env}/step/", {"action": 1})
        bad = server.post(f"{env}/step/", {"acton": 1})
        server.get("/v1/nonsense/")
        server.request("GET", "/", check=False)
        told = eventually(lambda: (found := records(server, "gym_http_server.access")) and len(found) == 6 and found)
    assert [(each["method"], each["path"], each["status"], each["operation"]) for each in told] == [
        ("POST", "/v1/envs/", 200, "createEnv"),
        ("POST", f"{env}/reset/", 200, "resetEnv"),
        ("POST", f"{env}/step/", 200, "stepEnv"),
        ("POST", f"{env}/step/", 400, "stepEnv"),
        ("GET", "/v1/nonsense/", 404, None),
        ("GET", "/", 200, None),
    ]
    instance_id = env.rsplit("/", 1)[1]
    assert [each["instance_id"] for each in told] == [None, instance_id, instance_id, instance_id, None, None]
    assert told[1]["request_id"] == mine.headers["x-request-id"] == "mine-1"
    assert told[2]["request_id"] == plain.headers["x-request-id"]
    assert len({each["request_id"] for each in told}) == 6
    assert (told[3]["received_bytes"], told[3]["sent_bytes"]) == (len(b'{"acton": 1}'), len(bad.body))
    assert all(0 < each["seconds"] < 60 and each["client"] == "127.0.0.1" for each in told)


def test_nothing_secret_is_in_the_access_log() -> None:
    """Neither queries, headers nor bodies are logged, and a path cannot end its line."""
    with start("process", "--access-log", "--log-level", "debug") as server:
        request = (
            "POST /v1/envs/%0Ax%1B/?key=secret1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret2\r\n"
            'Cookie: c=secret3\r\nContent-Length: 17\r\nConnection: close\r\n\r\n{"key":"secret4"}'
        )
        assert raw(server.address, request.encode()).startswith(b"HTTP/1.1 4")
        line = eventually(lambda: [each for each in list(server.stderr) if "gym_http_server.access" in each])[0]
    assert re.search(
        r" INFO gym_http_server\.access: POST /v1/envs/%0Ax%1B/ 4\d\d [^\n]* \[request [0-9a-f]{16}\]$", line
    )
    assert "secret" not in "".join(server.stderr)


def test_a_request_that_its_client_gives_up_is_in_the_access_log() -> None:
    """Its status is null, for none was sent."""
    with start("process", "--access-log", "--log-format", "json") as server:
        with Client(server) as client:
            client.send(b"POST /v1/envs/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            eventually(lambda: is_read(server, client))
        [told] = eventually(lambda: records(server, "gym_http_server.access"))
    assert told["status"] is None
    assert told["received_bytes"] == 1


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_the_protocol_refuses_is_in_the_access_log(refusing: Server, name: str) -> None:
    """One record with its status and the length of the reply, and the id that the client gave it, as in the reply."""
    status, data = REFUSED[name]
    before = len(records(refusing, "gym_http_server.access"))
    answer = raw(refusing.address, data)
    told = eventually(lambda: records(refusing, "gym_http_server.access")[before:])
    assert [each["status"] for each in told] == [status]
    assert told[0]["client"] == "127.0.0.1"
    assert told[0]["sent_bytes"] > 100
    assert told[0]["request_id"] == "mine" or name == "no request"
    assert told[0]["path"] == ("/v1/envs/" if name in ("body that does not end", "no chunk") else None)
    if status != 431:  # the system drops a reply to what was not read
        assert parse_response(answer).status == status
        assert parse_response(answer).headers.get("x-request-id") == (None if name == "no request" else "mine")


def test_of_a_reply_to_head_no_byte_is_in_the_access_log() -> None:
    """What the content would have had is not sent, by an operation or a page."""
    with start("inline", "--log-format", "json", "--access-log") as server:
        for path in ("/v1/envs/", "/"):
            server.request("HEAD", path, check=False)
        told = eventually(lambda: (found := records(server, "gym_http_server.access")) and len(found) == 2 and found)
    assert [(each["method"], each["status"], each["sent_bytes"]) for each in told] == [("HEAD", 200, 0)] * 2


def test_without_an_access_log_only_beginning_and_end_of_an_instance_are_logged(server: Server) -> None:
    """The log of a server at work is quiet, and says what it says in text."""
    env = server.create()
    server.post(f"{env}/reset/")
    server.post(f"{env}/step/", {"action": 1})
    server.request("DELETE", f"{env}/")
    name = env.rsplit("/", 1)[1]
    made, closed = eventually(lambda: len(found := [line for line in server.stderr if name in line]) == 2 and found)
    assert f"instance {name} is made: CartPole-v1 (gymnasium " in made
    assert f"instance {name} is closed: a client closed it; CartPole-v1, 1 steps, 0 episodes, lived " in closed
    assert not [line for line in server.stderr if "uvicorn" in line]


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_tells_the_story_of_a_server(kind: str) -> None:
    """Each event is one record with its fields: started, made, refused, lost, closed, stopping, stopped."""
    with start(kind, "--log-format", "json") as server:
        first = server.create(name="mine").rsplit("/", 1)[1]
        server.post(f"/v1/envs/{first}/reset/")
        server.post(f"/v1/envs/{first}/rollout/", {"policy": "random", "episodes": 2, "seed": 1})
        server.post(f"/v1/envs/{first}/step/", {"action": 7})
        server.post("/v1/envs/", {"env_id": "CartPole-v9"})
        second = server.create().rsplit("/", 1)[1]
        server.post(f"/v1/envs/{first}/close/")
        server.post("/v1/shutdown/")
        eventually(lambda: "stopped: " in "".join(server.stderr))
    told = [each for each in map(json.loads, server.stderr) if each["logger"] != "gym_http_server.environment"]
    refused = [each for each in told if each["message"].startswith("refused: ")]
    if kind == "handover":  # the step's comes from the environment's own process, as one of its lines
        lines = [each["message"] for each in map(json.loads, server.stderr) if each not in told]
        text = f"{first}: gym-http-server: refused: POST /v1/envs/{first}/step/ by 127.0.0.1: 400 "
        assert len([line for line in lines if line.startswith(text)]) == 1, lines
    else:
        assert [(each["path"], each["status"]) for each in refused] == [
            (f"/v1/envs/{first}/step/", 400),
            ("/v1/envs/", 400),
        ]
    assert "did you mean 'CartPole-v1'?" in refused[-1]["message"]
    story = [each for each in told if each not in refused and each["level"] == "INFO"]
    assert [each["message"].split(":")[0] for each in story] == [
        "started",
        f"instance {first} is made",
        f"instance {second} is made",
        f"instance {first} is closed",
        "stopping",
        f"instance {second} is closed",
        "stopped",
    ], [each["message"] for each in story]
    started, made, _, closed, stopping, last, stopped = story
    assert (started["url"], started["engine"]) == (server.url, "inline" if kind == "inline" else "process")
    assert (made["instance_id"], made["env_id"], made["client"]) == (first, "CartPole-v1", "127.0.0.1")
    assert "named 'mine'" in made["message"]
    assert (closed["steps"] > 10, closed["episodes"], closed["instance_id"]) == (True, 2, first)
    assert 0 < closed["age"] < 600
    assert stopping["stopped_by"] == "a request of 127.0.0.1"
    assert "the server stops" in last["message"]
    assert stopped["instances"] == 1


def test_a_refusal_is_no_last_word_of_the_environment(process_server: Server) -> None:
    """What our own code writes in its process is not told as what it wrote before it died."""
    env = process_server.create("tests/Troublemaker-v0")
    assert process_server.post(f"{env}/reset/").status == 200
    assert process_server.post(f"{env}/step/", {"action": 7}).status == 400
    answer = process_server.post(f"{env}/step/", {"action": "exit 3"})
    assert (answer.status, answer.json["stderr"]) == (502, ["last words of the environment"])


def test_the_log_says_which_signal_stops_the_server() -> None:
    """SIGTERM is what the tests' server is stopped with."""
    with start("inline") as server:
        pass
    eventually(lambda: "stopping: by SIGTERM" in "".join(server.stderr))
    assert "stopped: 0 instances closed" in "".join(server.stderr)


def test_refusals_are_a_few_lines_a_second_and_a_count_of_the_rest() -> None:
    """A flood of them takes six lines a second, and no line break or control character of a client gets in."""
    now = 0.0
    with own_logging() as stream:
        configured(stream, log_format="text")
        refusals = Refusals(lambda: now)
        scope = {"method": "POST", "path": "/a\nb\x1b", "client": ("10.0.0.7", 1)}
        for _ in range(1000):
            refusals.note(400, "no\nsuch \x1b thing" + "x" * 5000, scope)
        now = 1.5
        refusals.note(429, "too many", scope)
        lines = [line.split(": ", 1)[1] for line in stream.getvalue().splitlines()]
    assert lines[:5] == [f"refused: POST /a b\\x1b by 10.0.0.7: 400 no such \\x1b thing{'x' * 282}…"] * 5
    assert lines[5:] == [
        "refused: 995 more, of which no more than 5 lines a second are logged",
        "refused: POST /a b\\x1b by 10.0.0.7: 429 too many",
    ]


def test_what_libraries_say_whenever_they_are_loaded_is_not_logged(tmp_path: Path) -> None:
    """Neither SDL's word on XDG_RUNTIME_DIR, nor the banners of ALE, pygame and gym; what else is printed is."""
    (tmp_path / "module_that_loads.py").write_text("import gym, pygame, ale_py\nprint('my own word')\n")
    variables = {"PYTHONPATH": str(tmp_path), "XDG_RUNTIME_DIR": "", "PYGAME_HIDE_SUPPORT_PROMPT": ""}
    with start("process", "--import", "module_that_loads", environment=variables) as server:
        for env_id in ("CartPole-v1", "ALE/Pong-v5"):
            env = server.create(env_id)
            server.post(f"{env}/reset/")
            server.request("GET", f"{env}/render/", check=False)
            server.post(f"{env}/close/")
    lines = [line for line in server.stderr if "gym_http_server.environment" in line]
    assert [line.split("fork server: ")[-1].strip() for line in lines] == ["my own word"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_of_the_whole_stack_has_the_id_that_was_sent(kind: str) -> None:
    """So that a client can find it in the log; one that is not plain is not sent back."""
    with start(kind) as server, Client(server) as client:
        for value, expected in (("a", "a"), ("x" * 128, "x" * 128), ("x" * 129, None), ("a b", None), ("\xe9", None)):
            line = f"GET /v1/health/ HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {value}\r\n\r\n"
            assert client.ask(line.encode("latin-1")).headers.get("x-request-id") == expected
        problem = client.ask(post("/v1/envs/00000000/step/", {}, b"X-Request-Id: b\r\n"))
        assert (problem.status, problem.headers["x-request-id"]) == (400, "b")
        assert "x-request-id" not in client.ask(get("/v1/health/")).headers
        env = f"/v1/envs/{client.ask(post('/v1/envs/', {'env_id': TROUBLE})).json['instance_id']}"
        assert client.ask(step(env, "x", b"X-Request-Id: c\r\n")).status == 409


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_record_has_the_request_that_is_being_served(log_format: str) -> None:
    """The same id for each record of a request, its instance, and none of it once the request is over."""
    with own_logging() as stream:
        configured(stream, log_format=log_format)
        logger = logging.getLogger("gym_http_server.test")
        request = RequestContext()
        request.scope = {"path": "/v1/envs/0a1b2c3d/step/", "headers": [(b"x-request-id", b"mine")]}
        token = CURRENT.set(request)
        try:
            logger.info("one")
            logger.info("of %s", "another", extra={"instance_id": "00000001"})
            request.scope = None
            logger.info("after")
        finally:
            CURRENT.reset(token)
        lines = stream.getvalue().splitlines()
        if log_format == "text":
            assert [line.split(": ", 1)[1] for line in lines] == [
                "one [request mine instance 0a1b2c3d]",
                "of another [request mine instance 00000001]",
                "after",
            ]
        else:
            told = [json.loads(line) for line in lines]
            assert [each["message"] for each in told] == ["one", "of another", "after"]
            assert [each["request_id"] for each in told] == ["mine", "mine", None]
            assert [each["instance_id"] for each in told] == ["0a1b2c3d", "00000001", None]


def test_an_exception_is_text_in_its_record() -> None:
    """A JSON line stays one line, whatever the traceback and the message have in them."""
    with own_logging() as stream:
        configured(stream, log_format="json")
        error = ValueError("two\nlines \ud800")
        logging.getLogger("gym_http_server.test").error("it\nfailed", exc_info=error)
        [line] = stream.getvalue().splitlines()
        told = json.loads(line)
        assert told.keys() == FIELDS | {"exception"}
        assert told["message"] == "it\nfailed"
        assert told["exception"].startswith("ValueError: two\nlines")


def test_logging_that_a_program_has_set_up_is_left_alone() -> None:
    """Its handler stays the only one; one of a server that ran before is replaced."""
    with own_logging() as stream:
        root = logging.getLogger()
        configured(stream, log_format="text")
        configured(stream, log_format="json")
        logging.getLogger("gym_http_server.test").warning("json now")
        assert json.loads(stream.getvalue())["message"] == "json now"
        root.handlers = theirs = [logging.NullHandler()]
        logs.configure(Settings(log_format="json"))
        assert root.handlers == theirs


def test_a_defect_is_logged_under_the_request_that_met_it() -> None:
    """The reference in the reply is the id of the request, which every record of it has."""
    with own_logging() as stream:
        configured(stream, log_format="json")
        request = RequestContext()
        request.scope = {"path": "/v1/envs/", "headers": []}
        token = CURRENT.set(request)
        try:
            reference = json.loads(problem_of(ZeroDivisionError()).body)["reference"]
        finally:
            CURRENT.reset(token)
        told = json.loads(stream.getvalue())
        assert told["request_id"] == reference
        assert reference in told["message"]
        assert told["exception"].startswith("ZeroDivisionError")


def test_a_warning_is_a_record_of_the_log(tmp_path: Path) -> None:
    """What a module says to `warnings` in the server's process does not break a log of JSON lines."""
    (tmp_path / "module_that_warns.py").write_text("import warnings\nwarnings.warn('mind the step')\n")
    options = ("--engine", "inline", "--import", "module_that_warns", "--log-format", "json")
    with Server(*options, environment={"PYTHONPATH": str(tmp_path)}) as server:
        [told] = eventually(lambda: records(server, "py.warnings"))
    assert told["level"] == "WARNING"
    assert "mind the step" in told["message"]


CHATTY = """
import os, sys, warnings
warnings.warn("mind the step")
print("printed")
os.write(2, b"x" * 300_000 + b"\\nwritten\\n")
print("unfinished", end="")
"""


@pytest.mark.parametrize("kind", ["handover", "process"])
def test_what_a_module_says_at_import_is_in_the_log(tmp_path: Path, kind: str) -> None:
    """Each line that it prints, writes or warns of is one record, of no instance, and none is another's or on stdout."""
    (tmp_path / "module_that_talks.py").write_text(CHATTY)
    options = ("--import", "module_that_talks", "--log-format", "json", "--access-log")
    variables = {"PYTHONPATH": str(tmp_path)}
    with start(kind, *options, environment=variables) as server:
        for _ in range(2):
            server.post(f"{server.create()}/close/")
        assert server.banner[0].startswith("gym-http-server")
    told = records(server, "gym_http_server.environment")
    assert all(each["instance_id"] is each["request_id"] is None for each in told)
    said = [each["message"].removeprefix("fork server: ") for each in told]
    for text in ("UserWarning: mind the step", "printed", "xxx", "written", "unfinished"):
        assert sum(text in each for each in said) == 1, said
    assert len(json.dumps(told)) < 20_000


def test_what_a_module_said_before_its_import_failed_is_in_the_log(tmp_path: Path) -> None:
    """A server that does not start for it has logged that, line by line."""
    (tmp_path / "module_that_fails.py").write_text("print('the reason'); raise RuntimeError('no')")
    command = [sys.executable, "-m", "gym_http_server", "--port", "0", "--import", "module_that_fails"]
    ended = subprocess.run(
        [*command, "--log-format", "json"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0
    assert "the reason" not in ended.stdout
    assert "fork server: the reason" in [
        json.loads(each)["message"] for each in ended.stderr.splitlines() if each[0] == "{"
    ]


@pytest.mark.parametrize(("level", "uvicorn"), [("debug", "DEBUG"), ("info", "WARNING"), ("error", "ERROR")])
def test_uvicorn_says_nothing_but_warnings_unless_asked(level: str, uvicorn: str) -> None:
    """The project's own loggers have the level of the setting."""
    with own_logging() as stream:
        configured(stream, log_level=level)
        assert logging.getLevelName(logging.getLogger("uvicorn").level) == uvicorn
        assert logging.getLevelName(logging.getLogger("gym_http_server").level) == level.upper()


@given(st.lists(st.tuples(st.sampled_from([b"x-request-id", b"host"]), st.binary(max_size=140))))
def test_only_a_plain_id_is_taken(headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever is sent, what is taken is visible ASCII of at most 128 characters, and the first of that kind."""
    plain = [
        value for name, value in headers if name == b"x-request-id" and re.fullmatch(rb"[\x21-\x7e]{1,128}", value)
    ]
    assert sent_id({"headers": headers}) == (plain[0].decode() if plain else None)


@pytest.mark.parametrize(
    ("path", "instance_id"),
    [
        ("/v1/envs/0a1b2c3d/step/", "0a1b2c3d"),
        ("/v1/envs/0a1b2c3d", "0a1b2c3d"),
        ("/v1/envs/0a1b2c3d4/", None),
        ("/v1/envs/", None),
        ("/", None),
    ],
)
def test_the_instance_is_known_by_the_path(path: str, instance_id: str | None) -> None:
    """Eight hex digits where the contract has the id, and nothing else."""
    assert instance_in(path) == instance_id
