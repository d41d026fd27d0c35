"""How connexion calls the handlers: with the values of the body, and for responses of its own kind."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any

from ..runtime.messages import MSGPACK
from .bodies import parse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .responses import Response

with warnings.catch_warnings():
    # See problems.py.
    warnings.simplefilter("ignore")
    from connexion.lifecycle import ConnexionResponse


def bound(handler: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[ConnexionResponse]]:
    """Return a handler as connexion is to call it; it reads the arguments' names from the handler's signature."""

    @functools.wraps(handler)
    async def call(**arguments: Any) -> ConnexionResponse:
        body = arguments.get("body")
        # Of a media type that it does not know, connexion hands over the bytes.
        if isinstance(body, bytes):
            arguments["body"] = parse(MSGPACK, body)
        response = await handler(**arguments)
        return ConnexionResponse(
            200, content_type=response.media_type, body=response.body, headers=dict(response.headers)
        )

    return call
