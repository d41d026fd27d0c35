"""`Tunnel`: a WebSocket whose bytes pass between a client and a shard. Only heads of frames are looked at, no message."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ...agents.openenv.sockets.placing import LEFT_TO_ALL, LEFT_TO_NEXT
from ..connections import ShardConnection
from .frame_heads import FrameHeads, close_frame

if TYPE_CHECKING:
    from ...api.asgi import SwitchedConnection

GOING_AWAY, UNEXPECTED = 1001, 1011
"""Codes of a close (RFC 6455, 7.4.1)."""

LEAVING: Final = (LEFT_TO_NEXT, LEFT_TO_ALL)

CLOSE_SECONDS: Final = 5.0
"""Time for a client to take what is left and to close, before its connection is cut."""

MAX_KEPT_BYTES: Final = 1 << 16
"""Bytes of a client that are kept until a shard has taken its WebSocket."""


class TunnelConnection(ShardConnection):
    """The connection to a shard, which holds its client back while the shard does not read.

    Attributes:
        tunnel: what is told of that; None before there is a tunnel.
    """

    tunnel: Tunnel | None = None

    def pause_writing(self) -> None:
        """Receive no more of the client."""
        super().pause_writing()
        if self.tunnel is not None:
            self.tunnel.hold_client()

    def resume_writing(self) -> None:
        """Receive more of the client."""
        super().resume_writing()
        if self.tunnel is not None:
            self.tunnel.release_client()


class Tunnel(asyncio.Protocol):
    """The protocol of a client's connection after the handshake; the `Taker` of that to its shard.

    Args:
        client: the client's connection.

    Attributes:
        from_client, from_shard: the frames of either side.
        is_over: whether no shard can take it any more, and nothing of the client is passed on.
        is_new: whether its first message goes on with no episode.
    """

    def __init__(self, client: SwitchedConnection) -> None:
        self._client = client
        self._transport = client.transport
        self._shard: TunnelConnection | None = None
        # Frames
        self.from_client, self.from_shard = FrameHeads(), FrameHeads()
        self._kept: bytearray | None = bytearray()
        """What the client has sent, while the next shard may have to be sent it again."""
        self._undecided = b""
        """What a shard has sent of a frame that may be the sign that it leaves the client to the next one."""
        self._is_held = False
        # Its end
        self._turn: asyncio.Future[bool] | None = None
        self._is_stopping = self.is_new = False
        # It may be lost by now: shards were asked, and one may have had to be started.
        self.is_over = client.transport.is_closing()
        if not self.is_over:
            client.begin(self)
            self.data_received(client.received)

    @property
    def is_clean(self) -> bool:
        """Whether either side has closed the WebSocket."""
        return self.from_client.has_close or self.from_shard.has_close

    async def run(self, connection: TunnelConnection, early: bytes, *, may_decline: bool) -> bool:
        """Pass bytes to the end of either side.

        Args:
            connection: one on which the shard has answered the handshake.
            early: what it has sent behind that.
            may_decline: whether the shard may leave the WebSocket to the next one, by an end before any message.

        Returns:
            Whether it is over; else the next shard is to take it.
        """
        if self.is_over or connection.is_closed:
            connection.abort()
            return self.is_over
        self._turn = asyncio.get_running_loop().create_future()
        self._shard = connection
        connection.tunnel = self
        connection.begin(self)
        kept = bytes(self._kept or b"")
        if not may_decline:
            self._decide()
        elif len(kept) > MAX_KEPT_BYTES:
            self._leave()
            return False
        connection.transport.write(kept)
        if early:
            self.take(early)
        try:
            return await self._turn
        finally:
            self._turn = None

    def end(self, reason: str, code: int = UNEXPECTED) -> None:
        """Close the client's WebSocket."""
        if self.is_over:
            return
        self.is_over = True
        shard, self._shard = self._shard, None
        if shard is not None:
            # No close: where the environment lives, its client may come back to it.
            shard.abort()
        if not self.from_shard.has_close:
            if not self.from_shard.is_between:
                self._transport.abort()
                return
            self._transport.write(close_frame(code, reason))
        self._end_writing()

    def _end_writing(self) -> None:
        if self._transport.can_write_eof():
            # Not closed: what the client still sends would make its system drop the close frame.
            self._transport.write_eof()
            self._transport.resume_reading()
        else:
            self._transport.close()
        asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.abort)

    # What the client's connection calls

    def data_received(self, data: bytes) -> None:
        """Pass bytes on to the shard."""
        if self.is_over:
            return
        self.from_client.follow(data)
        if self._shard is not None:
            self._shard.transport.write(data)
        if self._kept is not None:
            self._kept += data
            if self._shard is not None and not self.from_client.messages and self.from_client.is_between:
                # Pings, which this shard has answered.
                self._kept.clear()
            if len(self._kept) > MAX_KEPT_BYTES:
                self._read()
                self._leave()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the shard's side, after what it has not taken yet."""
        self.is_over = True
        shard, self._shard = self._shard, None
        if shard is not None:
            shard.release()
        self._client.end(exc)
        self._tell(is_over=True)

    def pause_writing(self) -> None:
        """Receive no more of the shard."""
        if self._shard is not None:
            self._shard.transport.pause_reading()

    def resume_writing(self) -> None:
        """Receive more of the shard."""
        if self._shard is not None:
            self._shard.transport.resume_reading()

    def shutdown(self) -> None:
        """Close the client's WebSocket because the router stops, after the reply that it waits for; uvicorn calls this."""
        self._is_stopping = True
        self._stop_between()

    # What the shard's connection calls

    def take(self, data: bytes) -> None:
        """Pass bytes on to the client."""
        self.from_shard.follow(data)
        if self._kept is not None:
            data = self._undecided + data
            if self.from_shard.messages or self.from_shard.has_close:
                self._decide()
            elif not self.from_shard.is_between:
                self._undecided = data
                return
            elif data.endswith(LEAVING) and self.from_shard.opcode == data[-2] & 0x0F:
                self.is_new = data.endswith(LEFT_TO_ALL)
                self._transport.write(data[:-2])
                self._leave()
                return
            self._undecided = b""
        self._transport.write(data)
        if self._is_stopping:
            self._stop_between()

    def lose(self, reason: str) -> None:
        """End the client's side, or leave it to the next shard."""
        if self._kept is not None:
            self._leave()
            return
        shard, self._shard = self._shard, None
        assert shard is not None, "it has ended"  # noqa: S101 -- for the type checker
        self.end(f"shard {shard.prefix} of the cluster does not answer: {reason}; connect again")
        self._tell(is_over=True)

    def hold_client(self) -> None:
        """Receive no more of the client."""
        self._is_held = True
        self._read()

    def release_client(self) -> None:
        """Receive more of the client."""
        self._is_held = False
        self._read()

    def _read(self) -> None:
        """Receive more of the client, or no more."""
        if self._transport.is_closing():
            return
        if self._is_held or (self._kept is not None and len(self._kept) > MAX_KEPT_BYTES):
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _decide(self) -> None:
        """Leave the client to the shard that has it."""
        if self._kept is not None:
            self._kept = None
            self._read()

    def _leave(self) -> None:
        """Leave the client to the next shard, because this one has not taken it."""
        shard, self._shard = self._shard, None
        if shard is not None:
            shard.abort()
            self.from_shard, self._undecided = FrameHeads(), b""
            self._tell(is_over=False)

    def _stop_between(self) -> None:
        """End between two messages, none of which waits for a reply."""
        heads = self.from_client, self.from_shard
        is_quiet = all(each.is_between and each.is_whole for each in heads) and heads[0].messages <= heads[1].messages
        if is_quiet or self._shard is None:
            self.end("the router stops: connect to the next one", GOING_AWAY)
            self._tell(is_over=True)

    def _tell(self, *, is_over: bool) -> None:
        if self._turn is not None and not self._turn.done():
            self._turn.set_result(is_over)
