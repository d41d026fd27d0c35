"""`reach`: checks that a URL answers like an implementation, and returns its health."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .exchange import KEY_VARIABLE, NoAnswer, Nonconformity, Request
from .ledger import ENVS

if TYPE_CHECKING:
    from .implementation import Implementation

_OK, _UNAUTHORIZED = 200, 401


def reach(implementation: Implementation) -> str:
    """Return what an implementation says of itself.

    Raises:
        ValueError: there is none, or it does not let us in.
    """
    url = implementation.url
    try:
        health = implementation.ask(Request.of("GET", "/v1/health/")).answer
        listed = implementation.ask(Request.of("GET", ENVS)).answer
    except NoAnswer as error:
        raise ValueError(f"cannot reach {url}: {error.came}; is the server running there?") from None
    if _UNAUTHORIZED in (health.status, listed.status):
        given = "another key than the one that was given" if implementation.key_headers else "a key"
        raise ValueError(f"{url} requires {given}: --api-key, or the variable {KEY_VARIABLE}")
    if _OK not in (health.status, listed.status):
        raise ValueError(
            f"what answers at {url} does not look like a gym-http-server: {ENVS} is answered with {listed.status}; "
            "is the path of the URL right?"
        )
    try:
        members = health.json
        return f"it says: version {members['version']}, engine {members['engine']}, {members['instances']} instances"
    except (Nonconformity, KeyError, TypeError):
        return f"it says nothing of itself: /v1/health/ is answered with {health.status}"
