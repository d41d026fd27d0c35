"""Counting the values of a body before they are read."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest

from gym_http_server.api.content.bodies import parse, parse_plain
from gym_http_server.api.content.value_count import PIECE_BYTES, json_exceeds, msgpack_exceeds
from gym_http_server.api.problems import HttpProblem
from gym_http_server.config import Settings
from gym_http_server.runtime.messages import JSON, MSGPACK
from gym_http_server.runtime.values.packing import pack, unpack

LIMIT = Settings(api_key="").max_values


def made(draw: random.Random, depth: int = 0) -> Any:
    """Return a random value, nested at most five deep."""
    kind = draw.randrange(10 if depth < 5 else 7)
    if kind < 7:
        text = "".join(draw.choice('a,[]{}":\\é\n') for _ in range(draw.randrange(40)))
        return [None, True, draw.randrange(10**9), draw.random(), text, -draw.randrange(200), "\\" * draw.randrange(9)][
            kind
        ]
    if kind == 9:
        return {f'"{index}\\,[': made(draw, depth + 1) for index in range(draw.randrange(7))}
    return [made(draw, depth + 1) for _ in range(draw.randrange(7))]


def counted(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + len(value) + sum(map(counted, value.values()))
    return 1 + sum(map(counted, value)) if isinstance(value, list) else 1


@pytest.mark.parametrize("seed", range(40))
def test_values_are_counted_exactly(seed: int) -> None:
    """Whatever commas and brackets its texts hold, and wherever a piece of it ends."""
    draw = random.Random(seed)
    value = [made(draw) for _ in range(40)]
    count = counted(value)
    # A short text takes no counting; spaces make it long without a further value.
    body = json.dumps(value, ensure_ascii=bool(seed % 2)).encode() + b" " * (3 * count)
    assert json_exceeds(body, count - 1)
    assert not json_exceeds(body, count)
    assert msgpack_exceeds(pack(value), count - 1)
    assert not msgpack_exceeds(pack(value), count)


@pytest.mark.parametrize("shift", range(5))
@pytest.mark.parametrize("text", ['"' * 9, "\\" * 9, '\\"', ",[{"])
def test_a_text_across_the_pieces_is_one_value(text: str, shift: int) -> None:
    """Quotes and backslashes at the end of a piece belong to what comes in the next."""
    value = [" " * shift + text * (PIECE_BYTES // len(text)), 1, [text]]
    body = json.dumps(value).encode()
    assert json_exceeds(body, 4)
    assert not json_exceeds(body, 5)


def test_an_array_of_messagepack_is_a_handful_of_values() -> None:
    """However long it is; lists of the same numbers count each."""
    array = pack({"action": np.zeros((1000, 1000))})
    assert not msgpack_exceeds(array, 12)
    assert msgpack_exceeds(pack({"action": [0.0] * 1000}), 1000)


@pytest.mark.parametrize(
    "value",
    [
        b"\xc4\x03abc",
        b"\xc7\x0c\xff" + b"\0" * 12,
        b"\xd6\xff" + b"\0" * 4,
        b"\xd9\x02ab",
        b"\xda\0\x02ab",
        b"\xcb" + b"\0" * 8,
    ],
)
def test_every_form_of_messagepack_is_passed_over_whole(value: bytes) -> None:
    """What follows it is the next value."""
    body = b"\x93" + value + b"\x92\x01\x02" + value
    unpack(body)
    assert msgpack_exceeds(body, 5)
    assert not msgpack_exceeds(body, 6)


@pytest.mark.parametrize("body", [b"\xdd", b"\xdd\0\0\0\x05", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xd9\xff", b""])
def test_what_is_cut_off_is_left_to_the_reader(body: bytes) -> None:
    """Which says what is wrong with it."""
    assert not msgpack_exceeds(body, 1)


@pytest.mark.parametrize("media_type", [JSON, MSGPACK])
@pytest.mark.parametrize("limit", [3, 2000])
def test_the_limit_holds_on_both_ways(media_type: str, limit: int) -> None:
    """Also a small one, and the hot path leaves it to the other to say so."""
    for count, is_refused in ((limit - 1, False), (limit, True)):
        value = [1.5] * count  # which is one more with the list itself
        body = json.dumps(value).encode() if media_type == JSON else pack(value)
        if not is_refused:
            assert parse(media_type, body, limit) == parse_plain(media_type, body, limit) == value
            continue
        with pytest.raises(ValueError, match="too many values"):
            parse_plain(media_type, body, limit)
        with pytest.raises(HttpProblem, match=f"more than {limit} values.*--max-values") as caught:
            parse(media_type, body, limit)
        assert caught.value.status == 413
        assert caught.value.facts == {"limit": limit, "setting": "max_values"}


@pytest.mark.parametrize(
    "value",
    [[[[0] * 3] * 160] * 210, [[0.5] * 30] * 4096, [0] * 100_000],
    ids=["a frame of Atari", "4096 lanes", "a rollout"],
)
def test_what_is_large_and_meant_passes_by_default(value: Any) -> None:
    """As the manual promises, in both media types."""
    body = {"value": value}
    for media_type, sent in ((JSON, json.dumps(body).encode()), (MSGPACK, pack(body))):
        assert parse(media_type, sent, LIMIT) == parse_plain(media_type, sent, LIMIT) == body


@pytest.mark.parametrize("digits", ["18446744073709551616", "-9223372036854775809", "9" * 5000])
@pytest.mark.parametrize("padding", [0, 1 << 20, PIECE_BYTES - 14])
def test_an_integer_beyond_64_bits_is_refused_wherever_it_is(digits: str, padding: int) -> None:
    """In a small body, deep inside of a large one, and where one piece of that ends and the next begins."""
    body = b'["' + b" " * padding + b'",' + digits.encode() + b"]"
    with pytest.raises(ValueError, match="64 bits"):
        parse_plain(JSON, body, LIMIT)
    with pytest.raises(HttpProblem, match="64 bits"):
        parse(JSON, body, LIMIT)


@pytest.mark.parametrize(("media_type", "array"), [(JSON, (b"[", b"0", b"]")), (MSGPACK, (b"\x91", b"\x00", b""))])
def test_what_is_nested_too_deep_is_refused_on_both_ways(media_type: str, array: tuple[bytes, bytes, bytes]) -> None:
    """A hundred levels are read, and one more is not."""
    begin, value, end = array
    for depth in (100, 101):
        body = begin * depth + value + end * depth
        if depth == 100:
            assert parse(media_type, body, LIMIT) == parse_plain(media_type, body, LIMIT)
            continue
        with pytest.raises(ValueError, match="deep"):
            parse_plain(media_type, body, LIMIT)
        with pytest.raises(HttpProblem, match="deeper than 100 levels"):
            parse(media_type, body, LIMIT)


def test_numbers_are_read_as_they_are() -> None:
    """Also at the ends of the ranges."""
    body = b"[18446744073709551615, -9223372036854775808, 1e308, -0.0, 5e-324]"
    assert parse(JSON, body, LIMIT) == [2**64 - 1, -(2**63), 1e308, 0.0, 5e-324]
