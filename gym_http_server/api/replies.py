"""Replies that handlers make themselves, encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..runtime.messages import JSON, Reply
from ..runtime.values.encoding import ENCODERS, json_bytes
from .content.headers import form_of, wants_html_only

if TYPE_CHECKING:
    from collections.abc import Mapping


def json_reply(value: Any, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a value as JSON."""
    return Reply(json_bytes(value), JSON, headers or {})


def encoded_reply(value: Any, accept: str | None) -> Reply:
    """Return a value as JSON or MessagePack, by the Accept header."""
    media_type = form_of(accept).get("media_type", JSON)
    return Reply(ENCODERS[media_type](value), media_type)


def void_reply(accept: str | None) -> Reply:
    """Return an empty result: `{}`, with type HTML for a client that accepts nothing else."""
    return Reply(b"{}", "text/html; charset=utf-8" if wants_html_only(accept) else JSON)
