"""The responses that handlers answer with, already encoded so that connexion passes them on unchanged."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from ..runtime.encoding import json_bytes
from ..runtime.messages import JSON, Reply
from .negotiation import wants_html_only

if TYPE_CHECKING:
    from collections.abc import Mapping

with warnings.catch_warnings():
    # See problems.py.
    warnings.simplefilter("ignore")
    from connexion.lifecycle import ConnexionResponse


def json_response(value: Any, headers: Mapping[str, str] | None = None) -> ConnexionResponse:
    """Return a value as JSON."""
    return ConnexionResponse(200, content_type=JSON, body=json_bytes(value), headers=dict(headers or {}))


def reply_response(reply: Reply) -> ConnexionResponse:
    """Return what an environment answered, as it is."""
    return ConnexionResponse(200, content_type=reply.media_type, body=reply.body)


def void_response(accept: str | None) -> ConnexionResponse:
    """Return the reply of an operation that has nothing to say: `{}`, typed as HTML for a client that takes only that."""
    return ConnexionResponse(
        200, content_type="text/html; charset=utf-8" if wants_html_only(accept) else JSON, body=b"{}"
    )
