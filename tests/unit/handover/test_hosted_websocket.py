"""A WebSocket in an environment's process, without a process: however its bytes arrive, and whatever is not its own."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from gym_http_server.config import Settings
from gym_http_server.handover.hosted_websocket import HostedWebSocket
from gym_http_server.handover.receive_buffer import receive_buffers
from gym_http_server.http1.websocket_frames import PING, TEXT, after_frames, frame_head
from gym_http_server.runtime.shared.memory import Memory
from tests.support.serving import SECONDS


class Echo:
    """A session that echoes texts but for `no`, which is the server's."""

    is_over = False

    def __init__(self) -> None:
        self.executed: list[bytes] = []

    def answer(self, message: bytes) -> bytes | None:
        if message == b"no":
            return None
        self.executed.append(message)
        return message

    def note(self) -> bytes:
        return b"%d" % len(self.executed)


def framed(opcode: Opcode, payload: bytes) -> bytes:
    return Frame(opcode, payload).serialize(mask=True)


PLAIN = st.one_of(
    # An empty text is answered with nothing, as a close is.
    st.binary(min_size=1, max_size=200).filter(lambda text: text != b"no").map(lambda text: (TEXT, text)),
    st.binary(max_size=20).map(lambda text: (PING, text)),
)
LAST = {
    "nothing": b"",
    "a message of the server's": framed(Opcode.TEXT, b"no") + framed(Opcode.TEXT, b"behind"),
    "a close": framed(Opcode.CLOSE, b"\x03\xe8"),
    "binary": framed(Opcode.BINARY, b"x") + framed(Opcode.TEXT, b"behind"),
    "a fragment": Frame(Opcode.TEXT, b"x", fin=False).serialize(mask=True),
    "a part": framed(Opcode.TEXT, b"whole")[:-2],
}


@given(st.lists(PLAIN, max_size=8), st.sampled_from(list(LAST.values())), st.lists(st.integers(1, 80), max_size=20))
def test_however_bytes_arrive_the_answers_are_the_same_and_the_rest_is_intact(
    frames: list[tuple[int, bytes]], last: bytes, sizes: list[int]
) -> None:
    """Plain frames are answered in order, once; from the first other one on, the server finds each byte, and nothing executed."""
    data = b"".join(framed(Opcode.TEXT if kind == TEXT else Opcode.PING, payload) for kind, payload in frames) + last
    memory, descriptor = Memory.make()
    os.close(descriptor)
    client, theirs = socket.socketpair()
    with client, theirs:
        session, buffer = Echo(), receive_buffers(memory)[0]
        buffer.start(b"")
        hosted = HostedWebSocket(0, theirs, buffer, session, Settings())  # type: ignore[arg-type]  # it is asked no more
        expected = b""
        for kind, payload in frames:
            expected += frame_head(TEXT if kind == TEXT else 0x8A, len(payload)) + payload
        start = 0
        for size in [*sizes, len(data)]:
            if not (part := data[start : start + size]) or hosted.is_to_leave:
                break
            client.sendall(part)
            start += len(part)
            hosted.receive()
            while hosted.has_request:
                hosted.serve(SimpleNamespace(usage=memory.usage), None)  # type: ignore[arg-type]  # what it asks of them
        received = b""
        client.settimeout(SECONDS)
        while len(received) < len(expected):
            received += client.recv(len(expected) - len(received))
        assert received == expected
        assert session.executed == [payload for kind, payload in frames if kind == TEXT]
        assert memory.usage.messages == len(session.executed)
        frame = hosted.leave()
        assert (frame.rest, frame.closes, frame.note) == (b"", False, session.note())
        assert after_frames(buffer.data, buffer.answered) + data[start:] == last
