"""What a router sees of a WebSocket that passes through it: heads of frames, and the answer to a handshake."""

from __future__ import annotations

import random

import pytest

from gym_http_server.errors import ShardUnreachableError
from gym_http_server.router.agents.frame_heads import BINARY, CLOSE, TEXT, FrameHeads, close_frame
from gym_http_server.router.agents.handshake import ShardHandshake
from gym_http_server.router.agents.tunnel import TunnelConnection
from tests.support.echo import frame

FRAMES = (
    *(frame(TEXT, b"x" * size) for size in (0, 125, 126, 65535, 65536)),
    *(frame(9, b"ping", masked=False), frame(TEXT, b"a", fin=False), frame(10), frame(0, b"b", masked=False)),
    frame(BINARY, b"x" * 300, masked=False),
)


@pytest.mark.parametrize("seed", range(4))
def test_frames_end_where_they_end_however_their_bytes_are_cut(seed: int) -> None:
    """Short and long ones, masked or not, with control frames between the parts of a message."""
    generator, heads, messages = random.Random(seed), FrameHeads(), 0
    for data in FRAMES:
        while data:
            assert not heads.has_close
            size = generator.choice((1, 2, 3, 7, 100, 70000))
            heads.follow(data[:size])
            data = data[size:]
            assert heads.is_between == (not data)
        messages = heads.messages
    assert (messages, heads.is_whole, heads.total) == (7, True, sum(map(len, FRAMES)))
    heads.follow(frame(CLOSE, b"\x03\xe8"))
    assert heads.has_close


def test_a_message_is_whole_after_its_last_part() -> None:
    """Whatever control frames stand between the parts."""
    heads = FrameHeads()
    heads.follow(frame(TEXT, b"a", fin=False) + frame(9))
    assert (heads.messages, heads.is_whole, heads.is_between) == (1, False, True)
    heads.follow(frame(0, b"b"))
    assert heads.is_whole


def test_the_reason_of_a_close_fits_its_frame() -> None:
    """It is cut between two characters: a control frame holds 125 bytes (RFC 6455, 5.5)."""
    data = close_frame(1011, "ä" * 100)
    assert data[:4] == b"\x88\x7c\x03\xf3"
    assert data[4:].decode() == "ä" * 61
    assert close_frame(1001, "") == b"\x88\x02\x03\xe9"


class Pool:
    """What a connection needs of its pool."""

    class shard:  # noqa: N801 -- an attribute
        prefix = "00a"


class Transport:
    def abort(self) -> None:
        """End."""


@pytest.fixture
async def handshake() -> ShardHandshake:
    connection = TunnelConnection(Pool())
    connection.transport = Transport()
    return ShardHandshake(connection)


async def test_the_answer_of_a_shard_is_read_in_whatever_pieces_it_comes(handshake: ShardHandshake) -> None:
    """What follows a 101 in the same piece is the beginning of the frames."""
    for byte in b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: abc=\r\n\r\n":
        handshake.take(bytes([byte]))
    handshake.take(b"\x81\x00")
    await handshake.answered()
    assert (handshake.reply.status, handshake.early) == (101, b"\x81\x00")
    assert handshake.reply.headers == [(b"sec-websocket-accept", b"abc=")]


async def test_a_refusal_has_its_body(handshake: ShardHandshake) -> None:
    """It is waited for."""
    handshake.take(b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 4\r\n\r\nfu")
    handshake.take(b"ll")
    await handshake.answered()
    assert (handshake.reply.status, handshake.reply.body, handshake.early) == (429, b"full", b"")


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"x" * 70000, "the head of its reply is too long"),
        (b"HTTP/1.1 500 No\r\ncontent-length: 9999999\r\n\r\n" + b"x" * 2000000, "its reply is too long"),
        (b"", "gone"),
    ],
)
async def test_an_answer_that_is_none_is_told(handshake: ShardHandshake, sent: bytes, words: str) -> None:
    """Too much of it, or an end before it."""
    if sent:
        handshake.take(sent)
    handshake.lose("gone")
    with pytest.raises(ShardUnreachableError, match=words):
        await handshake.answered()
