"""Sessions of the fourteen old clients, replayed over raw sockets as they were written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from .contract import check_reply
from .serving import Answer, Server, parse_response, raw

HERE = Path(__file__).parent
SHARED = HERE.parent.parent / "shared" / "wire-requests.json"
SESSIONS = json.loads((SHARED if SHARED.is_file() else HERE / "wire" / "wire-requests.json").read_text())["clients"]

TYPES = {"str": str, "object": dict, "array": list, "int": int, "float": float, "bool": bool}


def has_type(value: Any, name: str) -> bool:
    return isinstance(value, TYPES[name]) and not (name == "int" and isinstance(value, bool))


def request_bytes(request: dict[str, Any], instance_id: str, directory: Path) -> bytes:
    body = request["body"].replace("{id}", instance_id)
    # Somebody may have a recording in /tmp/random-agent-results, and the clients delete it.
    body = re.sub(r'("directory": ")[^"]*/', rf"\g<1>{directory}/", body).encode()
    headers = dict(request["headers"])
    if body or request["method"] == "POST":
        headers["Content-Length"] = str(len(body))
    # The replay reads until the end of the stream; keep-alive itself is tested elsewhere.
    headers["Connection"] = "close"
    head = f"{request['method']} {request['path'].replace('{id}', instance_id)} HTTP/1.1\r\n"
    return (head + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n").encode() + body


def assert_needs(need: dict[str, Any], answer: Answer, instance_id: str) -> None:
    """Assert all that the client needs of the reply."""
    known = {"status", "type", "json", "keys", "all_values", "info", "no_null", "no_key", "message_has", "raw_has"}
    assert need.keys() <= known | {"contains_id"}
    statuses = need["status"] if isinstance(need["status"], list) else [need["status"]]
    assert answer.status in statuses, answer.body
    value = answer.json
    if "type" in need and answer.status == 200:
        assert answer.headers["content-type"].split(";")[0] == need["type"]
    if "json" in need and answer.status == 200:
        assert value == need["json"]
    for key, kind in need.get("keys", {}).items():
        assert has_type(value[key], kind), (key, value[key])
    if "all_values" in need:
        assert all(has_type(each, need["all_values"]) for each in value.values())
    for key, expected in need.get("info", {}).items():
        assert value["info"][key] == expected
    if need.get("no_null"):
        assert "null" not in json.dumps(value["info"])
    if "no_key" in need:
        assert need["no_key"] not in value
    if "message_has" in need:
        assert need["message_has"] in value["message"]
    if "raw_has" in need:
        assert need["raw_has"] in answer.body.decode().replace(" ", "")
    if need.get("contains_id"):
        assert all(instance_id in value[key] for key in need["keys"])


@pytest.mark.parametrize("client", SESSIONS, ids=[each["client"] for each in SESSIONS])
def test_an_old_client_gets_all_that_it_needs_through_a_whole_session(
    server: Server, client: dict[str, Any], tmp_path: Path
) -> None:
    """An unmodified client of the v1 contract gets from every request of a session what it reads of the reply."""
    instance_id = ""
    for request in client["session"]:
        sent = request_bytes(request, instance_id, tmp_path)
        answer = parse_response(raw(server.address, sent))
        path = request["path"].replace("{id}", instance_id)
        check_reply(request["method"], path, answer.status, answer.headers, answer.body)
        if answer.status == 200 and answer.headers["content-type"].startswith("application/json"):
            instance_id = answer.json.get("instance_id", instance_id)
        try:
            assert_needs(request["need"], answer, instance_id)
        except AssertionError as error:
            raise AssertionError(f"{client['client']}, {request['op']}: {error}") from error


VOID_BODIES = [
    ("null", "application/json"),
    ('""', "application/json"),
    ("{}", "application/json"),
    ("[]", "application/json"),
    ("", "application/json"),
    ("", None),
    ("", "application/x-www-form-urlencoded"),
]


@pytest.mark.parametrize(("body", "content_type"), VOID_BODIES)
@pytest.mark.parametrize("slash", ["", "/"])
def test_an_operation_that_needs_no_body_takes_every_empty_form_of_one(
    server: Server, body: str, content_type: str | None, slash: str
) -> None:
    """Reset and close take each of the bodies that old clients send for nothing."""
    headers = {"Content-Type": content_type} if content_type else {}
    env = server.create()
    assert server.post(f"{env}/reset{slash}", body.encode(), headers=headers).status == 200
    closed = server.post(f"{env}/close{slash}", body.encode(), headers=headers)
    assert (closed.status, closed.json) == (200, {})


def test_a_body_on_a_get_is_ignored(server: Server) -> None:
    """A GET with a body, as Julia's client sends it, is answered as one without."""
    env = server.create()
    assert server.get(f"{env}/action_space/", body=b"{}", headers={"Content-Type": "application/json"}).status == 200
    assert server.get(f"{env}/action_space/", body=b"\xff", headers={"Content-Type": "text/csv"}).status == 200


def test_nothing_is_compressed_unasked(server: Server) -> None:
    """A large reply comes as it is where the client names no encoding."""
    env = server.create("CartPole-v1")
    assert "content-encoding" not in server.get(f"{env}/observation_space/").headers
