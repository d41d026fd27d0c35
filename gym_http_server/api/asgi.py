"""ASGI's types, and the names of the extensions of a scope that several modules share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

REPLY = "gym_http_server.reply"
"""ASGI extension of `http1/protocol.py`: `reply(media_type, body)` sends a whole response with status 200 in one call, or returns
False and sends nothing."""

ERROR = "gym_http_server.error"
"""ASGI extension of `http1/protocol.py`: the error to answer this request with, because it was executed elsewhere."""

ABANDON = "gym_http_server.abandon"
"""ASGI extension of `http1/protocol.py`: a function that ends the current request, because the server stops."""

CONTEXT = "connexion_context"
"""The ASGI extension from which connexion takes further arguments of a handler, by name."""

HOT: Final = "gym_http_server.hot"
"""Key in the scope of a hot operation's request that fell through to connexion."""
