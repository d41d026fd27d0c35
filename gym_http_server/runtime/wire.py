"""Framing between the server and an environment's process: what goes each way over their socket.

To the process: `<I` length, then that many bytes of msgpack `[operation, arguments]`.
From the process: `<BIIQ` kind, steps, episodes and length, then that many bytes: an error or a description as JSON, or an
encoded reply whose media type is `KINDS[kind]`. The server takes nothing else from it, for the environment is
third-party code: no pickle, no length over the limit.
"""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import msgpack

from ..errors import GymHttpServerError
from .encoding import json_bytes
from .frame import JPEG, PNG, TEXT
from .messages import JSON, MSGPACK, Description, Reply
from .packing import packer, unpack

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

REQUEST_HEADER = struct.Struct("<I")
REPLY_HEADER = struct.Struct("<BIIQ")

ERROR, DESCRIPTION = 0, 1
KINDS = {2: JSON, 3: PNG, 4: JPEG, 5: TEXT, 6: MSGPACK}
_KIND_OF = {media_type: kind for kind, media_type in KINDS.items()}

_READ_SIZE = 1 << 16
_LARGE = 1 << 20

CREATE, CLOSE = "create", "close"


class RequestPacker:
    """Packs requests, with a buffer that it keeps for the next one."""

    def __init__(self) -> None:
        self._pack = packer().pack

    def pack(self, operation: str, arguments: Mapping[str, Any]) -> bytes:
        """Return the frame of a request.

        Raises:
            TypeError, ValueError, OverflowError: a value has no form there.
        """
        body: bytes = self._pack((operation, arguments))
        if len(body) > _LARGE:
            self._pack = packer().pack  # the old one would keep as much memory
        return REQUEST_HEADER.pack(len(body)) + body


def pack_reply(reply: Reply) -> bytes:
    """Return the frame of a reply."""
    header = REPLY_HEADER.pack(_KIND_OF[reply.media_type], reply.steps, reply.episodes, len(reply.body))
    return header + reply.body


def pack_error(error: GymHttpServerError) -> bytes:
    """Return the frame of an error."""
    body = json_bytes(error.to_wire())
    return REPLY_HEADER.pack(ERROR, 0, 0, len(body)) + body


def pack_description(description: Description) -> bytes:
    """Return the frame of the description of what was made."""
    body = json_bytes(description.to_wire())
    return REPLY_HEADER.pack(DESCRIPTION, 0, 0, len(body)) + body


def unpack_reply(kind: int, steps: int, episodes: int, body: bytes) -> Reply | Description:
    """Return what a frame from the process holds.

    Raises:
        GymHttpServerError: the error that it holds.
        ValueError: it is not of this format.
    """
    if kind in KINDS:
        return Reply(body, KINDS[kind], steps, episodes)
    message = json.loads(body)
    if not isinstance(message, dict):
        raise ValueError("a frame from the environment's process is not an object")  # noqa: TRY004 -- a value of the wrong form
    if kind == ERROR:
        raise GymHttpServerError.from_wire(message)
    if kind == DESCRIPTION:
        try:
            return Description(**message)
        except TypeError as error:
            raise ValueError(str(error)) from None
    raise ValueError(f"a frame from the environment's process is of the unknown kind {kind}")


class RequestReader:
    """Reads requests from a blocking socket, most of them in one call.

    Args:
        connection: the socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def next(self) -> tuple[str, dict[str, Any]] | None:
        """Return the next request, or None at the socket's end. The next is sent only after the reply to this one."""
        data: bytes | bytearray = self._connection.recv(_READ_SIZE)
        if len(data) < REQUEST_HEADER.size or len(data) < _size(data):
            data = bytearray(data)
            while len(data) < REQUEST_HEADER.size or len(data) < _size(data):
                part = self._connection.recv(1 << 20)
                if not part:
                    return None
                data += part
        body = data[REQUEST_HEADER.size :]
        # Without an array in it, it is read in a third of the time.
        operation, arguments = unpack(body) if b"dtype" in body else msgpack.unpackb(body)
        return operation, arguments


def _size(data: bytes | bytearray) -> int:
    length: int = REQUEST_HEADER.unpack_from(data)[0]
    return REQUEST_HEADER.size + length
