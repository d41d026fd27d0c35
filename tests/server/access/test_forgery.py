"""An environment's code that writes to its process's socket to the server itself: it loses itself, and nobody else."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gym_http_server.errors import EnvironmentRaisedError, every_error
from gym_http_server.handover.connection_frames import ENDED, RETURNED
from gym_http_server.runtime.frames import (
    DESCRIPTION,
    ERROR,
    LAST_WORDS,
    MAX_ERROR_BYTES,
    pack_error,
    unpack_description,
    unpack_error,
)
from gym_http_server.runtime.messages import FIELD_CHECKS, Description
from tests.conftest import start
from tests.support.handing import TROUBLE, Client, begin, handed, post, step
from tests.support.serving import Answer, Server, eventually, living

pytestmark = pytest.mark.full

FORGER = "tests/Forger-v0"
JSON_REPLY, PNG_REPLY = 2, 3
MAX_REPLY = 4096
DESCRIBED = {
    "env_id": FORGER, "library": "gymnasium 1.0", "render_mode": None,
    "action_space": {"name": "Discrete", "n": 2}, "observation_space": {"name": "Discrete", "n": 2},
}  # fmt: skip


@pytest.fixture(scope="module")
def forged() -> Iterator[Server]:
    """A server whose environments answer over their own socket."""
    with start("process", "--call-timeout", "5", "--max-reply", str(MAX_REPLY)) as running:
        yield running
        assert not [line for line in running.stderr if line.startswith("Traceback") or "internal error" in line]


def frame(kind: int, body: Any = b"", length: int | None = None) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return struct.pack("<BQ", kind, len(data) if length is None else length) + data


def error(name: str = "InvalidValueError", detail: Any = "no", **facts: Any) -> dict[str, Any]:
    return {"error": name, "detail": detail, "facts": facts}


def answered(server: Server, data: bytes, then: str = "") -> Answer:
    """Have an environment write bytes within a step; return the answer to that, after looking whether all is well."""
    env = server.create(FORGER)
    assert server.post(f"{env}/reset/").status == 200
    # An "x" before the digits, or a text of nothing but digits would be none.
    answer = server.post(f"{env}/step/", {"action": f"forge x{data.hex()} {then}"}, check=False)
    for path in (f"{env}/", "/v1/envs/", "/metrics", "/"):
        assert server.get(path, check=path != "/").status == 200
    assert server.post(f"{env}/close/").status == 200
    return answer


BROKEN = {
    "an unknown kind": frame(77),
    "a description": frame(DESCRIPTION, DESCRIBED),
    "a picture": frame(PNG_REPLY, b"png"),
    "a reply over the limit": frame(JSON_REPLY, b"x" * (MAX_REPLY + 1)),
    "a length without end": frame(JSON_REPLY, length=(1 << 64) - 1),
    "an error over the limit": frame(ERROR, length=MAX_ERROR_BYTES + 1),
    "the end of a connection that it never had": frame(ENDED),
    "the return of a connection that it never had": frame(RETURNED, b"\0\0HTTP/1.1 200 OK\r\n\r\n"),
    "an error that is no object": frame(ERROR, [1]),
    "an error that is no JSON": frame(ERROR, b"{"),
    "an error with half a character": frame(ERROR, b'{"error": "InvalidValueError", "detail": "\\ud800"}'),
    "an error nested without end": frame(ERROR, b'{"facts": ' + b"[" * 100_000),
    "an error of the server's start": frame(ERROR, error("AccessError")),
    "an error without a kind of its own": frame(ERROR, error("GymHttpServerError")),
    "last words that are none": frame(LAST_WORDS, b"[]"),
    "two replies": frame(JSON_REPLY, b"{}") * 2,
    "half a frame": frame(JSON_REPLY, length=100),
}
"""What breaks the protocol, within a step."""


@pytest.mark.parametrize("name", BROKEN)
def test_what_breaks_the_protocol_loses_the_environment(forged: Server, name: str) -> None:
    """The step is a 502 that says so, or its own reply where the forged one came after that."""
    answer = answered(forged, BROKEN[name], then="exit 0" if name == "half a frame" else "")
    if name != "two replies":
        assert answer.status == 502
        assert "lost during step" in answer.message


@pytest.mark.parametrize("name", ["headers", "status", "slug", "self", "type", "title", "message"])
def test_the_facts_of_an_error_are_nothing_but_members(forged: Server, name: str) -> None:
    """None of them becomes a header or the status, whatever it is called."""
    answer = answered(forged, frame(ERROR, error(**{name: {"set-cookie": "a=b\r\nX-Evil: 1"}})), then="sleep 5")
    assert answer.status == 400
    assert answer.json["status"] == 400
    assert answer.message == "no"
    assert not {"set-cookie", "x-evil"} & answer.headers.keys()


@pytest.mark.parametrize(
    "described",
    [
        {}, [], DESCRIBED | {"more": 1}, DESCRIBED | {"env_id": 1}, DESCRIBED | {"library": None},
        DESCRIBED | {"num_envs": "many"}, DESCRIBED | {"num_envs": True}, DESCRIBED | {"action_space": [1]},
        DESCRIBED | {"observation_space": {}}, DESCRIBED | {"wrappers": {"name": "a"}}, DESCRIBED | {"notice": {}},
    ],
)  # fmt: skip
def test_a_description_of_the_wrong_form_is_a_502(forged: Server, described: Any) -> None:
    """createEnv is refused, and no instance is left that lists and pages would fail over."""
    construct = f"forge x{frame(DESCRIPTION, described).hex()} sleep 5"
    answer = forged.post("/v1/envs/", {"env_id": FORGER, "kwargs": {"construct": construct}})
    assert answer.status == 502
    assert forged.get("/v1/envs/").json["envs"] == {}


def test_every_field_of_a_description_is_checked() -> None:
    """A field of a new type needs a line in the table of types."""
    assert {each.type for each in fields(Description)} <= FIELD_CHECKS.keys()
    assert unpack_description(json.dumps(DESCRIBED).encode()) == Description(**DESCRIBED)


def test_the_text_of_an_exception_may_be_of_any_length() -> None:
    """What is sent of it is the beginning, and the facts where they have room."""
    sent = unpack_error(pack_error(EnvironmentRaisedError("x" * (MAX_ERROR_BYTES + 1), a=1))[9:])
    assert isinstance(sent, EnvironmentRaisedError)
    assert len(sent.detail) < MAX_ERROR_BYTES
    assert unpack_error(pack_error(EnvironmentRaisedError("x", a=1))[9:]).facts == {"a": 1}


@pytest.mark.parametrize("flood", [frame(ENDED), frame(LAST_WORDS, error()), frame(JSON_REPLY, b"{}"), b"\0"])
def test_a_flood_of_frames_leaves_a_line_in_the_log(forged: Server, flood: bytes) -> None:
    """The environment is lost at the first, and the rest is not looked at."""
    env = forged.create(FORGER)
    forged.post(f"{env}/reset/")
    begun = len(forged.stderr)
    forged.post(f"{env}/step/", {"action": f"flood {flood.hex()}"}, check=False)
    eventually(lambda: forged.get(f"{env}/").json["state"] == "lost")
    assert len([line for line in forged.stderr[begun:] if env[-8:] in line and "process_worker" in line]) <= 2
    assert forged.post(f"{env}/close/").status == 200


@pytest.mark.parametrize("pattern", ["ff", "7f", "000000000000f03f", "47455420"])
def test_what_an_environment_writes_into_the_shared_memory_fails_nobody(process_server: Server, pattern: str) -> None:
    """Numbers that are none, or beyond all bounds: listings and metrics are answered, and it can be closed."""
    server = process_server
    with used(server) as (client, env):
        client.send(step(env, f"scribble {pattern}"))
        for path in (f"{env}/", "/v1/envs/", "/metrics", "/", "/v1/health/"):
            assert server.get(path, check=path != "/").status == 200
        assert server.request("DELETE", env).status == 200
        assert not [line for line in server.stderr if "internal error" in line]


def test_an_environment_that_pretends_to_have_just_begun_is_killed_all_the_same() -> None:
    """Whatever times it writes into the shared memory, who waits for it waits no longer than two calls may take."""
    with start("handover", "--call-timeout", "2") as server, handed(server) as (client, env, pid):
        process = psutil.Process(pid)
        begin(server, client, env, pid, step(env, "pretend_to_begin"))
        with Client(server) as other:
            assert other.ask(step(env, "x")).status in (410, 504)
        assert not living([process])


@contextlib.contextmanager
def used(server: Server) -> Iterator[tuple[Client, str]]:
    """Yield a client that uses one environment only, so that its connection is handed over where that is done, and its path."""
    env = server.create(TROUBLE)
    with Client(server) as client:
        for request in (post(f"{env}/reset/", {}), step(env, "x"), step(env, "x")):
            assert client.ask(request).status == 200
        yield client, env


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([each.__name__ for each in every_error()]) | st.text(max_size=8)
ERRORS = st.fixed_dictionaries({}, optional={"error": NAMES, "detail": VALUES, "facts": VALUES})
DESCRIPTIONS = st.fixed_dictionaries({}, optional={each.name: VALUES for each in fields(Description)}).map(
    lambda changed: DESCRIBED | changed
)
BODIES = st.binary(max_size=64) | VALUES | ERRORS | DESCRIPTIONS
FRAMES = st.builds(
    frame, st.integers(0, 10) | st.integers(0, 255), BODIES, st.none() | st.none() | st.integers(0, (1 << 64) - 1)
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FRAMES, min_size=1, max_size=3), st.sampled_from(["", "exit 0", "raise no"]))
def test_whatever_it_writes_nothing_is_a_500(forged: Server, frames: list[bytes], then: str) -> None:
    """A step is answered with a reply, or with a problem that is no defect of the server; all else goes on."""
    answer = answered(forged, b"".join(frames), then)
    assert answer.status != 500
    assert answer.headers.keys() <= {"date", "server", "content-type", "content-length", "x-request-id"}
