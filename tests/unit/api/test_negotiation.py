"""Which media types a client accepts, and which of them it likes best."""

from __future__ import annotations

import pytest

from gym_http_server.api.content.headers import acceptable

JSON, MSGPACK, PROBLEM = "application/json", "application/msgpack", "application/problem+json"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, [JSON, MSGPACK]),
        (" ", [JSON, MSGPACK]),
        ("*/*", [JSON, MSGPACK]),
        (f"{MSGPACK}, {JSON}", [JSON, MSGPACK]),
        (f"{JSON};q=0.5, {MSGPACK}", [MSGPACK, JSON]),
        (f"{JSON};q=0, {MSGPACK};q=0.1", [MSGPACK]),
        (f"{JSON};charset=utf-8", [JSON]),
        ("application/*;q=0.1", [JSON, MSGPACK]),
        ("text/csv", []),
        (f"{JSON};q=0", []),
        (PROBLEM, [JSON, MSGPACK]),
    ],
)
def test_what_is_accepted_comes_in_the_order_of_its_quality(accept: str | None, expected: list[str]) -> None:
    """Ties keep the order of what is offered, a quality of 0 is a refusal, and problem details alone say nothing."""
    assert acceptable(accept, (JSON, MSGPACK)) == expected
