"""WebSockets by raw bytes: frames, limits, attacks, pings and the close."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator

import pytest

from gym_http_server.http1 import heartbeat

from ..support.echo import SECONDS, EchoServer, Frames, frame

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


@pytest.fixture(scope="module")
def echo() -> Iterator[EchoServer]:
    """A server with small limits, which compresses."""
    with EchoServer(max_body=1 << 16, compression="all") as server:
        yield server


def test_texts_are_answered_in_order(echo: EchoServer) -> None:
    """Whole, fragmented, long and many texts at once come back in order, pings between fragments are answered."""
    with Frames(echo.address) as client:
        assert client.status == 101
        client.send(TEXT, b"one")
        assert client.read() == (TEXT, b"one")
        client.send(TEXT, b"tw", fin=False)
        client.send(PING, b"p")
        client.send(CONTINUATION, "ö".encode()[:1], fin=False)
        client.send(CONTINUATION, "ö".encode()[1:])
        assert client.read() == (PONG, b"p")
        assert client.read() == (TEXT, "twö".encode())
        long = b"x" * (1 << 16)
        client.send(TEXT, long)
        assert client.read() == (TEXT, long)
        many = [b"%d" % number for number in range(100)]
        client.socket.sendall(b"".join(frame(TEXT, each) for each in many))
        assert [client.read() for _ in many] == [(TEXT, each) for each in many]


def test_frames_behind_the_handshake_are_not_lost(echo: EchoServer) -> None:
    """A client that sends its first message together with the handshake gets its reply."""
    with Frames(echo.address, early=frame(TEXT, b"early")) as client:
        assert client.read() == (TEXT, b"early")


def test_a_long_text_is_compressed_where_the_client_and_the_setting_allow(echo: EchoServer) -> None:
    """A compressed text is read; a long reply is compressed, a short one is not."""
    with Frames(echo.address, "/ws", DEFLATE) as client:
        assert "permessage-deflate" in client.head
        for text in (b"short", b"long" * 1000):
            deflate = zlib.compressobj(wbits=-12)
            client.send(TEXT, (deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4], rsv1=True)
            opcode, payload = client.read()
            inflate = zlib.decompressobj(wbits=-12)
            inflated = inflate.decompress(payload + b"\x00\x00\xff\xff") if len(text) > 1024 else payload
            assert (opcode, inflated) == (TEXT, text)
            assert len(payload) <= 64
    with EchoServer() as plain, Frames(plain.address, "/ws", DEFLATE) as client:
        assert "permessage-deflate" not in client.head


def test_the_client_closes(echo: EchoServer) -> None:
    """A close frame is answered with its code, and the connection ends; the app learns that it was on purpose."""
    with Frames(echo.address) as client:
        client.send(CLOSE, b"\x03\xe8bye")
        assert client.read() == (CLOSE, b"\x03\xe8bye")
        assert client.read() == (-1, b"")
    wait_for(lambda: (True, 0, 0) in echo.ended)


def test_a_lost_connection_is_no_close(echo: EchoServer) -> None:
    """The app is told of a lost connection, with what was received and sent."""
    count = len(echo.ended)
    with Frames(echo.address) as client:
        client.send(TEXT, b"abc")
        client.read()
    wait_for(lambda: len(echo.ended) > count)
    assert echo.ended[-1] == (False, 3, 3)


def bomb() -> bytes:
    deflate = zlib.compressobj(9, wbits=-12)
    return (deflate.compress(bytes(1 << 22)) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


ATTACKS = {
    "unmasked": (frame(TEXT, b"x", masked=False), 1002),
    "unknown opcode": (frame(3, b"x"), 1002),
    "reserved bit": (frame(TEXT, b"x", rsv1=True), 1002),
    "long ping": (frame(PING, bytes(126)), 1002),
    "fragmented ping": (frame(PING, b"x", fin=False), 1002),
    "continuation of nothing": (frame(CONTINUATION, b"x"), 1002),
    "text within a text": (frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"), 1002),
    "no text": (frame(TEXT, b"\xff"), 1007),
    "too long": (frame(TEXT, bytes((1 << 16) + 1)), 1009),
    "too long in parts": (frame(TEXT, bytes(1 << 15), fin=False) + frame(CONTINUATION, bytes((1 << 15) + 1)), 1009),
    "announced as endless": (b"\x81\xff" + b"\x7f" + b"\xff" * 7 + b"mask", 1009),
    "close with half a code": (frame(CLOSE, b"\x03"), 1002),
    "close with a reserved code": (frame(CLOSE, b"\x03\xed"), 1002),
}


@pytest.mark.parametrize(("data", "code"), ATTACKS.values(), ids=ATTACKS)
def test_malformed_frames_end_the_connection(echo: EchoServer, data: bytes, code: int) -> None:
    """Each is answered with the close code of its kind and the end of the connection; others are served on."""
    with Frames(echo.address) as client:
        client.socket.sendall(data)
        assert client.closed() == code
        assert client.read() == (-1, b"")
    with Frames(echo.address) as client:
        client.send(TEXT, b"well")
        assert client.read() == (TEXT, b"well")


def test_a_compressed_bomb_is_not_inflated(echo: EchoServer) -> None:
    """A text that inflates to more than --max-body is refused before it takes memory."""
    with Frames(echo.address, "/ws", DEFLATE) as client:
        client.send(TEXT, bomb(), rsv1=True)
        assert client.closed() == 1009


def test_a_binary_message_is_told_to_the_app(echo: EchoServer) -> None:
    """The app answers a binary message as its protocol says."""
    with Frames(echo.address) as client:
        client.send(BINARY, b"\x00")
        assert client.read() == (TEXT, b"no")
        assert client.closed() == 1000


HANDSHAKES = {
    "another version": (("Sec-WebSocket-Version: 8",), 400),
    "repeated key": (("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",), 400),
}


@pytest.mark.parametrize(("lines", "status"), HANDSHAKES.values(), ids=HANDSHAKES)
def test_a_malformed_handshake_is_refused(echo: EchoServer, lines: tuple[str, ...], status: int) -> None:
    """A handshake that is wrong is answered with problem details, and the connection is closed."""
    with Frames(echo.address, "/ws", *lines) as client:
        assert client.status in (status, 426)
        assert "application/problem+json" in client.head
        assert "connection: close" in client.head.lower()


def test_another_path_ignores_the_upgrade(echo: EchoServer) -> None:
    """Where no WebSocket is, a request for one is a plain request, as one for HTTP/2 is."""
    with Frames(echo.address, "/other") as client:
        assert client.status == 426
    with socket.create_connection(echo.address, SECONDS) as plain:
        plain.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert b" 426 " in plain.recv(1 << 16)


def test_a_ping_is_answered_while_a_message_is_served(echo: EchoServer) -> None:
    """Pongs do not wait for the reply to a message."""
    echo.release.clear()
    with Frames(echo.address) as client:
        client.send(TEXT, b"slow")
        for number in range(3):
            client.send(PING, b"%d" % number)
            assert client.read() == (PONG, b"%d" % number)
        echo.release.set()
        assert client.read() == (TEXT, b"slow")


def test_a_flood_is_not_read_while_a_message_is_served(echo: EchoServer) -> None:
    """A client that sends on and on fills its own buffers, not the server's memory, and gets all its replies."""
    echo.release.clear()
    text = b"y" * (1 << 15)
    count = 2000
    with Frames(echo.address) as client:
        sender = threading.Thread(
            target=lambda: client.socket.sendall(
                frame(TEXT, b"slow") + b"".join(frame(TEXT, text) for _ in range(count))
            )
        )
        sender.start()
        sender.join(0.3)
        assert sender.is_alive()
        echo.release.set()
        assert client.read() == (TEXT, b"slow")
        for _ in range(count):
            assert client.read() == (TEXT, text)
        sender.join(SECONDS)


@pytest.fixture
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("CHECK_SECONDS", 0.05), ("PING_SECONDS", 0.15), ("DEAD_SECONDS", 0.5)):
        monkeypatch.setattr(heartbeat, name, seconds)


@pytest.mark.usefixtures("_fast")
def test_a_silent_client_is_pinged_and_then_dead() -> None:
    """A client that answers pings lives on; one that does not is cut, and the app learns that the connection is lost."""
    with EchoServer() as echo:
        with Frames(echo.address) as client:
            until = time.monotonic() + 1.0
            while time.monotonic() < until:
                opcode, payload = client.read()
                assert opcode == PING
                client.send(PONG, payload)
            assert echo.ended == []
            while client.read()[0] == PING:
                pass
        wait_for(lambda: bool(echo.ended))
        assert not echo.ended[-1][0]


@pytest.mark.usefixtures("_fast")
@pytest.mark.parametrize("start", [b"\x81\xfe\x01\x00mask", frame(TEXT, b"x", fin=False)], ids=["frame", "fragments"])
def test_a_message_that_arrives_too_slowly_ends_the_connection(start: bytes) -> None:
    """A message that is not complete within --body-timeout is refused, however its bytes or fragments trickle."""
    with EchoServer(body_timeout=0.4) as echo, Frames(echo.address) as client:
        client.socket.sendall(start)
        done = threading.Event()

        def trickle() -> None:
            while not done.wait(0.05):
                with contextlib.suppress(OSError):
                    client.socket.sendall(b"x" if start[0] == 0x81 else frame(CONTINUATION, b"", fin=False))

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            assert client.closed() == 1008
        finally:
            done.set()
            thread.join(SECONDS)


def test_a_stop_closes_with_going_away_after_the_reply() -> None:
    """An idle connection is closed with 1001 at once, one whose message is being served after the reply."""
    with EchoServer() as echo, Frames(echo.address) as idle, Frames(echo.address) as busy:
        busy.send(TEXT, b"slow")
        busy.send(PING)
        assert busy.read()[0] == PONG
        echo.server.should_exit = True
        assert idle.closed() == 1001
        idle.send(CLOSE, b"\x03\xe9")
        echo.release.set()
        assert busy.read() == (TEXT, b"slow")
        assert busy.closed() == 1001
        busy.send(CLOSE, b"\x03\xe9")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
