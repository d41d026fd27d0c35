"""Responses of handlers, already encoded."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..runtime.messages import JSON, Reply
from ..runtime.values.encoding import ENCODERS, json_bytes
from .content.negotiation import form_of, wants_html_only

if TYPE_CHECKING:
    from collections.abc import Mapping


class Response(NamedTuple):
    """A response with status 200.

    Attributes:
        body: its bytes.
        media_type: its Content-Type.
        headers: further headers.
    """

    body: bytes
    media_type: str = JSON
    headers: Mapping[str, str] = MappingProxyType({})


def json_response(value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """Return a value as JSON."""
    return Response(json_bytes(value), JSON, headers or {})


def encoded_response(value: Any, accept: str | None) -> Response:
    """Return a value as JSON or MessagePack, by the Accept header."""
    media_type = form_of(accept).get("media_type", JSON)
    return Response(ENCODERS[media_type](value), media_type)


def reply_response(reply: Reply) -> Response:
    """Return an environment's reply unchanged."""
    return Response(reply.body, reply.media_type)


def void_response(accept: str | None) -> Response:
    """Return an empty result: `{}`, with type HTML for a client that accepts nothing else."""
    return Response(b"{}", "text/html; charset=utf-8" if wants_html_only(accept) else JSON)
