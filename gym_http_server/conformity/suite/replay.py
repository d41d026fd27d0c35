"""Replays recorded sessions of the fourteen v1 clients, and checks what each client needs of a reply."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..caller import REFUSALS
from ..exchange import JSON, Answer, Exchange, Nonconformity, NotServed, Request, shown
from ..ledger import is_creation

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..caller import Caller

VOID_BODIES = (
    ("null", JSON),
    ('""', JSON),
    ("{}", JSON),
    ("[]", JSON),
    ("", JSON),
    ("", None),
    ("", "application/x-www-form-urlencoded"),
)
"""The clients' bodies without a value, and their media types."""

_TYPES = {"str": str, "object": dict, "array": list, "int": int, "float": float, "bool": bool}
_OK = 200

_SUCCESSORS = {f'"{name}-v0"': f'"{name}-v1"' for name in ("CartPole", "FrozenLake", "Pendulum")}
"""Successors of the clients' environment ids: an implementation need not serve retired ids."""


@functools.cache
def sessions() -> dict[str, list[dict[str, Any]]]:
    """Return the sessions by client."""
    text = (Path(__file__).parent / "wire-requests.json").read_text(encoding="utf-8")
    return {client["client"]: client["session"] for client in json.loads(text)["clients"]}


def replay(client: str, caller: Caller, directory: Callable[[], str]) -> None:
    """Send a client's session; check each reply against the contract and the client's needs.

    `directory` returns a new directory to record in: in the session's own a client would delete a recording.

    Raises:
        Nonconformity: a reply is not what the client needs.
        NotServed: neither the session's environment nor its successor is served.
    """
    instance_id = ""
    for entry in sessions()[client]:
        need = entry["need"]
        request = _request(entry, instance_id, directory)
        creates = is_creation(request.method, request.path) and need["status"] == _OK
        exchange = _create(caller, request) if creates else caller.exchange(request)
        answer = exchange.answer
        try:
            _check_status(need["status"], answer)
            if answer.status == _OK and answer.media_type == JSON:
                instance_id = answer.json.get("instance_id", instance_id)
            _check(need, answer, instance_id)
        except Nonconformity as error:
            raise Nonconformity(f"{entry['op']}: {error.expected}", error.came, exchange) from None


def _create(caller: Caller, request: Request) -> Exchange:
    """Create an environment, or its successor if it is not served."""
    exchange = caller.exchange(request)
    if exchange.answer.status not in REFUSALS:
        return exchange
    body = request.body.decode()
    for retired, successor in _SUCCESSORS.items():
        body = body.replace(retired, successor)
    exchange = caller.exchange(Request(request.method, request.path, request.headers, body.encode()))
    if exchange.answer.status in REFUSALS:
        raise NotServed(f"{REFUSALS[exchange.answer.status]}: {shown(exchange.answer.json['message'])}")
    return exchange


def _request(entry: dict[str, Any], instance_id: str, directory: Callable[[], str]) -> Request:
    body = entry["body"].replace("{id}", instance_id)
    if '"directory"' in body:
        body = re.sub(r'("directory": )"[^"]*"', lambda match: match[1] + json.dumps(directory()), body)
    # The recorded `Host` is that of the recording server.
    headers = {name: value for name, value in entry["headers"].items() if name != "Host"}
    return Request(entry["method"], entry["path"].replace("{id}", instance_id), headers, body.encode())


def _check_status(needed: int | list[int], answer: Answer) -> None:
    statuses = needed if isinstance(needed, list) else [needed]
    if answer.status not in statuses:
        raise Nonconformity(" or ".join(map(str, statuses)), str(answer.status))


def _check(need: dict[str, Any], answer: Answer, instance_id: str) -> None:
    """Check an answer against a client's needs, which `wire-requests.json` explains."""
    known = {"type", "json", "keys", "all_values", "info", "no_null", "no_key", "message_has", "raw_has"}
    if unknown := need.keys() - known - {"status", "contains_id"}:
        raise ValueError(f"what is needed is not known: {unknown}")
    is_ok = answer.status == _OK
    if "type" in need and is_ok:
        _need(answer.media_type == need["type"], f"the media type {need['type']}", answer.media_type)
    value = answer.json
    _need(isinstance(value, dict), "an object", value)
    if "json" in need and is_ok:
        _need(value == need["json"], f"just {need['json']!r}", value)
    for key, kind in need.get("keys", {}).items():
        came = f"{key}: {value[key]!r}" if key in value else f"no {key} in {value!r}"
        _need(key in value and _has_type(value[key], kind), f"{key} of type {kind}", came)
        if need.get("contains_id"):
            _need(instance_id in value[key], f"the new instance in {key}", value[key])
    if "all_values" in need:
        _need(all(_has_type(item, need["all_values"]) for item in value.values()), "strings only", value)
    info = value.get("info")
    for key, expected in need.get("info", {}).items():
        _need(isinstance(info, dict) and info.get(key) == expected, f"{key} {expected!r} in info", info)
    if need.get("no_null"):
        _need("null" not in json.dumps(info), "no null in info", info)
    if "no_key" in need:
        _need(need["no_key"] not in value, f"no key {need['no_key']}", value)
    if "message_has" in need:
        _need(need["message_has"] in str(value.get("message")), f"{need['message_has']!r} in message", value)
    if "raw_has" in need:
        _need(need["raw_has"] in answer.body.decode().replace(" ", ""), f"the text {need['raw_has']}", value)


def _has_type(value: Any, name: str) -> bool:
    # Python's bool is an int; JSON's is not.
    return isinstance(value, _TYPES[name]) and not (name == "int" and isinstance(value, bool))


def _need(is_so: bool, expected: str, came: Any) -> None:
    if not is_so:
        raise Nonconformity(expected, shown(came))
