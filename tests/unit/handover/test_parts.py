"""The parts of connection hand-over one by one: habit, pipeline, receive buffer, lent connections, frames of the channel."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_http_server.errors import EnvironmentDiedError
from gym_http_server.handover import lent_connections, policy
from gym_http_server.handover import receive_buffer as buffer_module
from gym_http_server.handover.connection_frames import (
    ADOPT,
    ENDED,
    RECALL,
    RETURNED,
    ReturnedFrame,
    pack_adopt,
    pack_ended,
)
from gym_http_server.handover.gateway import REQUEST_LINE
from gym_http_server.handover.lent_connections import LentConnections, Returned
from gym_http_server.handover.policy import (
    MAX_PATIENCE_REQUESTS,
    MIN_PATIENCE_REQUESTS,
    MIN_SERVED_REQUESTS,
    Habit,
)
from gym_http_server.handover.receive_buffer import (
    CAPACITY,
    EXECUTING,
    MAX_CONNECTIONS,
    READ_SIZE,
    REPLYING,
    WAITING,
    ReceiveBuffer,
    receive_buffers,
)
from gym_http_server.handover.request_parser import unanswered
from gym_http_server.runtime.frames import REPLY_HEADER, RequestPacker, RequestReader
from gym_http_server.runtime.operations import CALLS
from gym_http_server.runtime.shared import usage as usage_module
from gym_http_server.runtime.shared.memory import Memory
from gym_http_server.runtime.shared.usage import Usage
from tests.support.handing import chunked, get, post

SHUTDOWN = EnvironmentDiedError("it died")


def ripe_after(habit: Habit, instance_id: bytes) -> int:
    """Return with which of the next requests for an instance a connection goes there."""
    return next(count for count in range(1, 3 * MAX_PATIENCE_REQUESTS) if habit.is_ripe(instance_id))


def test_a_habit_is_ripe_with_the_second_request_in_a_row() -> None:
    """The first request for an instance is never enough, and each after it is."""
    habit = Habit()
    assert [habit.is_ripe(b"a") for _ in range(4)] == [False, True, True, True]


@given(st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=60))
def test_a_habit_that_changes_with_each_request_is_never_ripe(ids: list[bytes]) -> None:
    """Only a request for the instance of the request before it can be."""
    habit = Habit()
    before = b""
    for each in ids:
        assert habit.is_ripe(each) == (each == before)
        before = each


def test_the_patience_doubles_with_each_move_in_vain_up_to_a_limit() -> None:
    """It begins anew once a move has paid."""
    habit = Habit()
    habit.is_ripe(b"a")
    found = []
    for _ in range(15):
        found.append(ripe_after(habit, b"a"))
        habit.came_back(MIN_SERVED_REQUESTS - 1)
    assert found == [min(MIN_PATIENCE_REQUESTS << count, MAX_PATIENCE_REQUESTS) for count in range(15)]
    habit.came_back(MIN_SERVED_REQUESTS)
    assert ripe_after(habit, b"a") == MIN_PATIENCE_REQUESTS
    assert policy.MIN_PATIENCE_REQUESTS == 1


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (b"POST /v1/envs/0123abcd/step/ HTTP/1.1\r\n", b"0123abcd"),
        (b"GET /v1/envs/0123abcd/action_space/sample HTTP/1.0\r\nHost", b"0123abcd"),
        (b"POST /v1/envs/0123ABCD/step/ HTTP/1.1\r\n", None),
        (b"POST /v1/envs/0123abcd/step/?a=b HTTP/1.1\r\n", None),
        (b"POST /v1/envs/0123abcd/st%65p/ HTTP/1.1\r\n", None),
        (b"POST /v1/envs/0123abcd HTTP/1.1\r\n", None),
        (b"POST /v1/envs/0123abcd/step/ HTTP/1.1", None),
        (b"\r\nPOST /v1/envs/0123abcd/step/ HTTP/1.1\r\n", None),
        (b"POST http://x/v1/envs/0123abcd/step/ HTTP/1.1\r\n", None),
        (b"", None),
    ],
)
def test_only_a_plain_request_line_names_an_instance(line: bytes, found: bytes | None) -> None:
    """Whatever is written in another way stays with the server, which knows all ways."""
    match = REQUEST_LINE.match(line)
    assert (match and match[3]) == found


WORDS = st.text("abc \r\n{}", max_size=30)
GOING_ON = st.one_of(
    st.builds(lambda body: post("/v1/envs/0123abcd/step/", body), WORDS),
    st.builds(lambda body, size: chunked("/v1/envs/0123abcd/step/", body, size), WORDS, st.integers(1, 40)),
    st.just(get("/v1/envs/0123abcd/action_space/sample")),
    st.just(post("/v1/envs/0123abcd/reset/", {}, b"Expect: 100-continue\r\n")),
)
CLOSING = st.sampled_from(
    [
        post("/v1/envs/0123abcd/reset/", {}, b"Connection: close\r\n"),
        b"POST /v1/envs/0123abcd/reset/ HTTP/1.0\r\n\r\n",
    ]
)


@settings(deadline=None)
@given(
    st.lists(GOING_ON, max_size=8),
    st.lists(CLOSING | GOING_ON, max_size=3),
    st.sampled_from([b"", b"\r\n", b"POST /v1", b"GARBAGE\r\n\r\n", b"\0\xff"]),
    st.data(),
)
def test_what_is_unanswered_begins_where_the_last_answered_request_ends(
    before: list[bytes], after: list[bytes], end: bytes, data: st.DataObject
) -> None:
    """However many are answered, the last of them with a close perhaps, not a byte of what follows is lost."""
    answered = data.draw(st.integers(0, len(before) + bool(after)))
    requests = before + after
    assert unanswered(b"".join(requests) + end, answered) == b"".join(requests[answered:]) + end


def test_nothing_is_unanswered_where_more_was_answered_than_came() -> None:
    """A process that counts wrongly has nothing executed twice."""
    assert unanswered(get("/a") * 3, 4) == b""
    assert unanswered(b"", 1) == b""


@pytest.fixture
def kept() -> ReceiveBuffer:
    """A buffer in memory of its own."""
    return ReceiveBuffer(memoryview(bytearray(8 * buffer_module.CELLS)).cast("d"), memoryview(bytearray(CAPACITY)))


def test_a_buffer_keeps_what_came_until_it_is_cleared(kept: ReceiveBuffer) -> None:
    """A start forgets all of the connection before."""
    kept.start(b"ab")
    kept.put(b"")
    kept.put(b"cd")
    assert (kept.data, kept.answered, kept.served, kept.phase) == (b"abcd", 0, 0, WAITING)
    kept.executes(closes=False)
    assert kept.phase == EXECUTING
    kept.replies(0, 9)
    assert kept.phase == REPLYING
    kept.mark_answered()
    assert (kept.data, kept.answered, kept.served, kept.phase) == (b"abcd", 1, 1, WAITING)
    kept.clear()
    assert (kept.data, kept.answered, kept.served) == (b"", 0, 1)
    kept.replies(0, 9)
    kept.start(b"x")
    assert (kept.data, kept.answered, kept.served, kept.phase) == (b"x", 0, 0, WAITING)


def test_a_buffer_that_is_not_full_has_room_for_another_read(kept: ReceiveBuffer) -> None:
    """Two reads of the largest size fit, and the first byte over one makes it full."""
    kept.start(b"x" * READ_SIZE)
    assert not kept.is_full
    kept.put(b"y" * READ_SIZE)
    assert kept.is_full
    assert kept.data == b"x" * READ_SIZE + b"y" * READ_SIZE
    kept.start(b"x" * (READ_SIZE + 1))
    assert kept.is_full
    kept.clear()
    assert not kept.is_full


FLOATS = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(FLOATS, min_size=buffer_module.CELLS, max_size=buffer_module.CELLS))
def test_garbage_in_a_buffer_is_read_without_a_failure(values: list[float]) -> None:
    """The process that writes there is third-party code; no value makes the server raise or read what is not there."""
    cells = memoryview(bytearray(8 * buffer_module.CELLS)).cast("d")
    found = ReceiveBuffer(cells, memoryview(bytearray(64)))
    for index, value in enumerate(values):
        cells[index] = value
    assert len(found.data) <= 64
    assert found.answered >= 0
    assert found.served >= 0
    assert found.is_full in (True, False)
    assert found.phase in range(4)


@given(st.lists(FLOATS, min_size=usage_module.CELLS, max_size=usage_module.CELLS))
def test_garbage_in_the_usage_is_read_without_a_failure(values: list[float]) -> None:
    """Whatever the cells hold, each property is a count, a time, or the name of an operation."""
    cells = memoryview(bytearray(8 * usage_module.CELLS)).cast("d")
    usage = Usage(cells)
    for index, value in enumerate(values):
        cells[index] = value
    assert usage.steps >= 0
    assert usage.episodes >= 0
    assert math.isfinite(usage.used_at)
    assert math.isfinite(usage.idle_since)
    assert usage.busy_since is None or 0 < usage.busy_since < math.inf
    assert usage.operation in CALLS
    assert usage.of_rollout is None or min(usage.of_rollout) >= 0


def test_the_memory_is_shared_by_its_descriptor() -> None:
    """What one side writes the other reads, usage and each of the receive buffers apart."""
    memory, descriptor = Memory.make()
    other = Memory.open(descriptor)
    os.close(descriptor)
    for count, buffer in enumerate(receive_buffers(memory)):
        buffer.start(b"%d" % count * CAPACITY)
    other.usage.count(3, 1)
    assert [buffer.data for buffer in receive_buffers(other)] == [
        b"%d" % at * CAPACITY for at in range(MAX_CONNECTIONS)
    ]
    assert (memory.usage.steps, memory.usage.episodes) == (3, 1)
    assert {(buffer.answered, buffer.served) for buffer in receive_buffers(memory)} == {(0, 0)}


class Held:
    """Lent connections with sockets on all sides; `buffer` is that of the first."""

    session = None

    def __init__(self) -> None:
        memory, descriptor = Memory.make()
        os.close(descriptor)
        self.usage = memory.usage
        self.lent = LentConnections(memory)
        self.buffer = receive_buffers(memory)[0]
        self.channel, self.process = socket.socketpair()
        self.channel.setblocking(False)
        # TCP, of which the system tells how much was written.
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.client = socket.create_connection(listening.getsockname(), 5)
            self.connection, _ = listening.accept()
        self.returned: list[Returned | None] = []
        self.back = self.returned.append

    def send(self, frame: bytes, descriptor: int | None) -> bool:
        try:
            if descriptor is None:
                self.channel.send(frame)
            else:
                socket.send_fds(self.channel, [frame], [descriptor])
        except OSError:
            return False
        return True

    def hand_over(self, data: bytes = b"data") -> bool:
        duplicate = os.dup(self.connection.fileno())
        if self.lent.hand_over(self.send, duplicate, data, self):
            return True
        os.close(duplicate)
        return False

    def is_served_there(self, data: bytes) -> bool:
        return data.startswith(b"theirs")

    def give_back(self, rest: bytes = b"", *, closes: bool = False, ends_reply: bool = False) -> None:
        self.lent.take(RETURNED, ReturnedFrame(0, rest, closes, ends_reply).pack()[REPLY_HEADER.size :])

    def close(self) -> None:
        for each in self.returned:
            if each is not None:
                os.close(each.connection)
        for each in (self.channel, self.process, self.connection, self.client):
            each.close()


@pytest.fixture
def held() -> Iterator[Held]:
    """Lent connections, of which there is none yet."""
    made = Held()
    yield made
    made.close()


def test_a_connection_is_sent_with_a_frame_and_its_data_lie_in_the_buffer(held: Held) -> None:
    """The process reads the frame with the descriptor and the slot."""
    assert not held.lent.is_held
    assert held.hand_over()
    assert held.lent.is_held
    assert held.buffer.data == b"data"
    held.lent.recall(held.send)
    requests = RequestReader(held.process)
    assert requests.next() == (ADOPT, {"slot": 0})
    with socket.socket(fileno=requests.next_descriptor()) as theirs:
        theirs.sendall(b"hello")
        assert held.client.recv(9) == b"hello"
    assert requests.next() == (RECALL, {})
    held.give_back()
    assert not held.lent.is_held


def in_a_loop(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in an event loop, which the watch over several connections needs."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        async def body() -> None:
            test(**fixtures)

        asyncio.run(body())

    return run


@in_a_loop
def test_each_connection_has_a_slot_of_its_own(held: Held) -> None:
    """One more than there are slots is refused, and the slot of a connection that came back is used again."""
    assert [held.hand_over() for _ in range(MAX_CONNECTIONS + 1)] == [True] * MAX_CONNECTIONS + [False]
    held.lent.take(RETURNED, ReturnedFrame(3, b"", closes=False, ends_reply=False).pack()[REPLY_HEADER.size :])
    assert held.hand_over(b"again")
    requests = RequestReader(held.process)
    slots = []
    for _ in range(MAX_CONNECTIONS + 1):
        slots.append(requests.next())
        os.close(requests.next_descriptor())
    assert slots == [(ADOPT, {"slot": slot}) for slot in (*range(MAX_CONNECTIONS), 3)]
    held.lent.inherit(SHUTDOWN, is_unread=False)
    assert [returned and returned.data for returned in held.returned] == [b"data"] * MAX_CONNECTIONS + [b"again"]


async def watched(held: Held, request: bytes) -> None:
    """Have the process begin a call of the server, a client send a request, and the server look twice."""
    held.lent.begin_call()
    held.usage.begin("render")
    held.client.send(request)
    await asyncio.sleep(3 * lent_connections.MIN_WATCH_SECONDS)


def test_a_request_for_the_server_does_not_wait_for_a_call_in_the_process(held: Held) -> None:
    """The server takes the connection, and its slot is free once the process has read so."""
    held.hand_over(b"")
    asyncio.run(watched(held, b"ours"))
    [returned] = held.returned
    assert returned is not None
    assert returned[1:8] == (b"", False, b"", 0, 0, None, 0.0)
    assert not held.lent.is_held
    held.lent.end_call()
    held.usage.end()
    held.hand_over()
    requests = RequestReader(held.process)
    frames = []
    for _ in range(3):
        frames.append(requests.next())
        if frames[-1] != (RECALL, {"slot": 0}):
            os.close(requests.next_descriptor())
    assert frames == [(ADOPT, {"slot": 0}), (RECALL, {"slot": 0}), (ADOPT, {"slot": 1})]
    held.give_back()
    held.lent.inherit(SHUTDOWN, is_unread=False)
    assert held.hand_over()
    assert requests.next() == (ADOPT, {"slot": 0})
    os.close(requests.next_descriptor())
    held.lent.inherit(SHUTDOWN, is_unread=False)


@pytest.mark.parametrize(
    ("begun", "request_"), [(b"", b"theirs"), (b"theirs, be", b"gun"), (b"", b"")], ids=["whole", "begun", "none"]
)
def test_what_the_process_serves_waits_for_it(held: Held, begun: bytes, request_: bytes) -> None:
    """A request of the hot path is left there, the rest of one, and a connection without a request."""
    held.hand_over(begun)
    asyncio.run(watched(held, request_))
    assert held.returned == []
    held.give_back()


def test_a_connection_that_the_process_may_use_is_not_taken(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call ended while the server asked for the connection: it waits for the process to give it back."""
    held.hand_over(b"")
    send = held.lent._send

    def end_and_send(*frame: Any) -> bool:
        held.usage.end()
        assert send is not None
        return send(*frame)

    monkeypatch.setattr(held.lent, "_send", end_and_send)
    asyncio.run(watched(held, b"ours"))
    assert held.returned == []
    assert held.lent.is_held
    held.give_back()
    assert len(held.returned) == 1


def test_a_connection_whose_own_request_is_executed_is_not_taken(held: Held) -> None:
    """What follows on it comes after that request."""
    held.hand_over(b"theirs")
    held.buffer.executes(closes=False)
    asyncio.run(watched(held, b"ours"))
    assert held.returned == []
    held.give_back()


@pytest.mark.parametrize(
    ("kind", "body"),
    [(RETURNED, b""), (RETURNED, b"\0"), (RETURNED, b"\1\0"), (RETURNED, b"\xff\0rest"), (ENDED, b""), (ENDED, b"\1")],
)
def test_a_frame_about_a_connection_that_the_process_does_not_have_is_an_error(
    held: Held, kind: int, body: bytes
) -> None:
    """It changes nothing; a process that sends it breaks the protocol."""
    assert held.lent.max_frame_bytes(kind, 100) == -1
    held.hand_over()
    assert held.lent.max_frame_bytes(kind, 100) >= len(body)
    with pytest.raises(ValueError, match="connection"):
        held.lent.take(kind, body)
    assert held.lent.is_held
    held.give_back()


def test_a_connection_that_cannot_be_sent_stays_with_the_server(held: Held) -> None:
    """The process may be gone, or the channel full."""
    with contextlib.suppress(BlockingIOError):
        while True:
            held.channel.send(b"x" * 65536)
    assert not held.hand_over()
    assert not held.lent.is_held
    held.process.close()
    assert not held.hand_over()
    assert held.returned == []


def test_a_connection_that_is_given_back_comes_with_all_that_is_open(held: Held) -> None:
    """The rest of a reply counts as that reply."""
    held.hand_over(b"abc")
    held.buffer.mark_answered()
    held.buffer.replies(0, 9)
    held.give_back(b"rest", closes=True, ends_reply=True)
    [returned] = held.returned
    assert returned is not None
    assert returned[1:8] == (b"rest", True, b"abc", 2, 1, None, 0.0)
    assert held.hand_over(b"next")
    held.give_back()
    assert held.returned[1][1:8] == (b"", False, b"next", 0, 0, None, 0.0)


def test_a_connection_that_ended_is_closed_and_told_as_none(held: Held) -> None:
    """The server's duplicate does not withhold the end of the stream."""
    held.hand_over()
    held.connection.close()
    held.lent.take(ENDED, pack_ended(0)[REPLY_HEADER.size :])
    assert held.returned == [None]
    requests = RequestReader(held.process)
    requests.next()
    with socket.socket(fileno=requests.next_descriptor()):
        assert held.client.recv(9) == b""


@pytest.mark.parametrize("phase", ["waiting", "unread", "executing"])
def test_what_is_inherited_depends_on_how_far_a_request_was(held: Held, phase: str) -> None:
    """One that was not begun is served, and one in the environment or left unread is answered with the error."""
    held.lent.inherit(SHUTDOWN, is_unread=False)
    assert held.returned == []
    held.hand_over()
    assert not held.lent.is_executing
    if phase == "executing":
        held.buffer.executes(closes=False)
        assert held.lent.is_executing
    if phase == "unread":
        held.client.send(b"request")
    held.lent.inherit(SHUTDOWN, is_unread=phase == "unread")
    assert not held.lent.is_held
    [returned] = held.returned
    assert returned is not None
    assert returned[1:8] == (b"", False, b"data", 0, 0, None if phase == "waiting" else SHUTDOWN, 0.0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much was written to a connection")
@pytest.mark.parametrize(("written", "closes"), [(0, False), (3, False), (9, False), (9, True)])
def test_a_reply_that_a_dead_process_had_begun_is_none_or_whole_or_the_end(
    held: Held, written: int, closes: bool
) -> None:
    """A process that ended beside its write leaves a request to answer or an answered one; half a reply is the end."""
    held.connection.sendall(b"before")
    held.hand_over()
    held.buffer.executes(closes=False)
    held.buffer.replies(0, 5)
    held.connection.sendall(b"first")
    held.buffer.mark_answered()
    held.buffer.executes(closes=closes)
    held.buffer.replies(5, 14)
    held.connection.sendall(b"x" * written)
    held.lent.inherit(SHUTDOWN, is_unread=False)
    [returned] = held.returned
    if written == 3:
        assert returned is None
        assert held.client.recv(99, socket.MSG_WAITALL) == b"beforefirstxxx"
    else:
        assert returned is not None
        answered, error = (1, SHUTDOWN) if written == 0 else (2, None)
        assert returned[1:8] == (b"", closes, b"data", answered, 1, error, 0.0)


def test_where_the_system_does_not_tell_what_was_written_a_begun_reply_is_the_end(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client never reads the answer to a request behind half of another."""
    monkeypatch.setattr(lent_connections, "bytes_sent", lambda _: None)
    held.hand_over()
    held.buffer.replies(0, 9)
    held.lent.inherit(SHUTDOWN, is_unread=False)
    assert held.returned == [None]
    assert held.client.recv(9) == b""


def test_a_sign_of_life_is_missed_only_while_a_request_lies_unread(held: Held) -> None:
    """The clock begins when something lies there, and anew with each request that was served and with a reply."""
    held.hand_over()
    assert [held.lent.last_sign(now) for now in (0.0, 0.5)] == [0.0, 0.0]
    held.buffer.waits(0.7)  # of half a request, which the process has read
    assert [held.lent.last_sign(now) for now in (1.0, 2.0)] == [1.0, 2.0]
    held.client.send(b"request")
    assert [held.lent.last_sign(now) for now in (3.0, 4.0, 5.0)] == [3.0, 3.0, 3.0]
    held.buffer.mark_answered()
    assert [held.lent.last_sign(now) for now in (6.0, 7.0)] == [6.0, 6.0]
    held.buffer.replies(0, 9)
    assert held.lent.last_sign(8.0) == 8.0
    held.buffer.mark_answered()
    assert [held.lent.last_sign(now) for now in (9.0, 10.0)] == [9.0, 9.0]
    held.connection.recv(99)
    assert held.lent.last_sign(11.0) == 11.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The channel between the server and a process."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(5)
        yield ours, theirs


def test_descriptors_come_with_the_request_that_they_belong_to(pair: tuple[socket.socket, socket.socket]) -> None:
    """Frames around them, in the same read and split in any place, change nothing."""
    ours, theirs = pair
    pack = RequestPacker().pack
    reads, writes = os.pipe()
    ours.sendall(pack("step", {"action": 1}) + pack(RECALL, {}))
    socket.send_fds(ours, [pack_adopt(0)], [reads])
    ours.sendall(pack(RECALL, {}) + pack("step", {"action": 2})[:7])
    socket.send_fds(ours, [pack("step", {"action": 2})[7:] + pack_adopt(0)], [writes])
    requests = RequestReader(theirs)
    found = []
    descriptors = []
    for _ in range(6):
        request = requests.next()
        assert request is not None
        found.append(request[0])
        if request[0] == ADOPT:
            descriptors.append(requests.next_descriptor())
    assert found == ["step", RECALL, ADOPT, RECALL, "step", ADOPT]
    os.close(writes)
    os.write(descriptors[1], b"x")
    assert os.read(descriptors[0], 9) == b"x"
    for each in (reads, *descriptors):
        os.close(each)


def test_nothing_behind_a_descriptor_is_read_with_it(pair: tuple[socket.socket, socket.socket]) -> None:
    """What the server says after a connection stays in the channel, which is how the process learns to give it back."""
    ours, theirs = pair
    pack = RequestPacker().pack
    socket.send_fds(ours, [pack_adopt(0)], [ours.fileno()])
    ours.sendall(pack(RECALL, {}))
    requests = RequestReader(theirs)
    assert requests.next() == (ADOPT, {"slot": 0})
    os.close(requests.next_descriptor())
    assert theirs.recv(99) == pack(RECALL, {})


@given(st.integers(0, 255), st.binary(max_size=99), st.booleans(), st.booleans())
def test_a_connection_that_returns_is_packed_and_unpacked(
    slot: int, rest: bytes, closes: bool, ends_reply: bool
) -> None:
    """The frame holds the slot, the rest of the reply, whether that is all of it, and whether to close."""
    frame = ReturnedFrame(slot, rest, closes, ends_reply)
    assert ReturnedFrame.unpack(frame.pack()[REPLY_HEADER.size :]) == frame


def test_a_host_loads_neither_the_framework_nor_the_legacy_library() -> None:
    """What an environment's process needs to serve connections leaves connexion, flask and gym out."""
    code = (
        "import sys, gym_http_server.handover.host;"
        "print([m for m in ('connexion', 'flask', 'gym') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
