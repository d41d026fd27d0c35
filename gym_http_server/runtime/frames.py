"""Frames of the channel: the messages on the socket between the server and an environment's process.

To the process: `<I` length and that many bytes of MessagePack `[operation, arguments]`, perhaps with a descriptor.

From the process: `<BQ` kind and length, and that many bytes. An error or a description is JSON, a reply has the media type
`KINDS[kind]`. Environments are third-party code and
may write to the socket: nothing is unpickled, each kind has its own size limit, and a malformed frame is a ValueError.
"""

from __future__ import annotations

import array
import socket
import struct
from typing import TYPE_CHECKING, Any

import msgpack
import orjson

from ..errors import GymHttpServerError, StartError
from .messages import JSON, MSGPACK, Description, Reply
from .values.encoding import json_bytes
from .values.packing import packer, unpack
from .values.rendered_frame import JPEG, PNG, TEXT

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_HEADER = struct.Struct("<I")
REPLY_HEADER = struct.Struct("<BQ")

ERROR, DESCRIPTION, LAST_WORDS = 0, 1, 9
OF_CONNECTIONS = frozenset((7, 8))
"""Kinds of frames about clients' connections (`handover/connection_frames.py`)."""
KINDS = {2: JSON, 3: PNG, 4: JPEG, 5: TEXT, 6: MSGPACK}
REPLIES = frozenset(KINDS)
VALUES = frozenset(kind for kind, media_type in KINDS.items() if media_type in (JSON, MSGPACK))
"""Kinds of replies other than rendered frames."""
MAX_ERROR_BYTES = 1 << 20
MAX_DESCRIPTION_BYTES = 64 << 20
"""The description of an image space is long."""
_MAX_DETAIL_CHARS = 1 << 16
_KIND_OF = {media_type: kind for kind, media_type in KINDS.items()}

_READ_BYTES = 1 << 16
_MAX_KEPT_BUFFER_BYTES = 1 << 20

CREATE, CLOSE = "create", "close"

_FLAGS = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # programs that the environment starts do not inherit it
_ANCILLARY = socket.CMSG_SPACE(struct.calcsize("i"))


class RequestPacker:
    """Packs requests; keeps its buffer for the next one."""

    def __init__(self) -> None:
        self._pack = packer().pack

    def pack(self, operation: str, arguments: Mapping[str, Any]) -> bytes:
        """Return the frame of a request.

        Raises:
            TypeError, ValueError, OverflowError: a value cannot be encoded.
        """
        body: bytes = self._pack((operation, arguments))
        if len(body) > _MAX_KEPT_BUFFER_BYTES:
            self._pack = packer().pack  # the old one would keep its memory
        return REQUEST_HEADER.pack(len(body)) + body


def pack_reply(reply: Reply) -> bytes:
    """Return the frame of a reply."""
    return REPLY_HEADER.pack(_KIND_OF[reply.media_type], len(reply.body)) + reply.body


def pack_error(error: GymHttpServerError) -> bytes:
    """Return the frame of an error."""
    return _frame_of(ERROR, error)


def pack_description(description: Description) -> bytes:
    """Return the frame of a description."""
    body = json_bytes(description.to_wire())
    return REPLY_HEADER.pack(DESCRIPTION, len(body)) + body


def pack_last_words(error: GymHttpServerError) -> bytes:
    """Return the frame of the error that the process ends with."""
    return _frame_of(LAST_WORDS, error)


def _frame_of(kind: int, error: GymHttpServerError) -> bytes:
    body = json_bytes(error.to_wire())
    if len(body) > MAX_ERROR_BYTES:
        # The text of an exception may have any length. The facts are short or can be omitted.
        body = json_bytes({**error.to_wire(), "detail": error.detail[:_MAX_DETAIL_CHARS] + "…", "facts": {}})
    return REPLY_HEADER.pack(kind, len(body)) + body


def max_body_bytes(kind: int, max_reply: int) -> int:
    """Return the maximum size of a frame's body in bytes, or -1 for an unknown kind.

    Args:
        kind: the kind.
        max_reply: maximum size of a reply.
    """
    if kind in KINDS:
        return max_reply
    return {ERROR: MAX_ERROR_BYTES, LAST_WORDS: MAX_ERROR_BYTES, DESCRIPTION: MAX_DESCRIPTION_BYTES}.get(kind, -1)


def unpack_error(body: bytes) -> GymHttpServerError:
    """Return the error in a frame.

    Raises:
        ValueError: the frame is malformed, or its error cannot occur in an environment's process.
    """
    error = GymHttpServerError.from_wire(_object(body))
    if type(error) is GymHttpServerError or isinstance(error, StartError):
        raise ValueError(f"{type(error).__name__} is the server's own")
    return error


def unpack_description(body: bytes) -> Description:
    """Return the description in a frame.

    Raises:
        ValueError: the frame is malformed.
    """
    return Description.from_wire(_object(body))


def unpack_reply(kind: int, body: bytes) -> Reply:
    """Return the reply in a frame whose kind is one of `REPLIES`."""
    return Reply(body, KINDS[kind])


def _object(body: bytes) -> dict[str, Any]:
    # orjson refuses values that could not be sent on as JSON: lone surrogates, NaN, endless nesting.
    message = orjson.loads(body)
    if not isinstance(message, dict):
        raise ValueError("a frame from the environment's process is not an object")  # noqa: TRY004 -- a value of the wrong form
    return message


class RequestReader:
    """Reads requests from a blocking socket, usually one per system call.

    Args:
        connection: the socket.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer: bytes | bytearray = b""
        self._descriptors = array.array("i")

    def next(self) -> tuple[str, dict[str, Any]] | None:
        """Return the next request, or None when the socket is closed."""
        if not self._buffer:
            self._buffer = self._receive(_READ_BYTES)
        data = self._buffer
        if len(data) < REQUEST_HEADER.size or len(data) < _size(data):
            data = bytearray(data)
            while len(data) < REQUEST_HEADER.size or len(data) < _size(data):
                part = self._receive(1 << 20)
                if not part:
                    return None
                data += part
        end = _size(data)
        # Almost always exactly one frame.
        body, self._buffer = data[REQUEST_HEADER.size : end], data[end:]
        # Requests without arrays are unpacked in a third of the time.
        operation, arguments = unpack(body) if b"dtype" in body else msgpack.unpackb(body)
        return operation, arguments

    @property
    def has_more(self) -> bool:
        """Whether bytes of a further request are read already."""
        return bool(self._buffer)

    def next_descriptor(self) -> int:
        """Return the descriptor that came with the latest request."""
        return self._descriptors.pop(0)

    def _receive(self, size: int) -> bytes:
        data, ancillary, _, _ = self._connection.recvmsg(size, _ANCILLARY, _FLAGS)
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._descriptors.frombytes(content)
        return data


def _size(data: bytes | bytearray) -> int:
    length: int = REQUEST_HEADER.unpack_from(data)[0]
    return REQUEST_HEADER.size + length
