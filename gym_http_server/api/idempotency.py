"""The `Idempotency-Key`: how it gets from a request's head to whatever executes the request.

Format: draft-ietf-httpapi-idempotency-key-header; the text is compared as it is, quoted or not.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

from ..runtime.idempotency import ONCE, Once
from .content.bodies import LARGE, READERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

HEADER: Final = "Idempotency-Key"
NAME: Final = HEADER.lower().encode()

_KNOWN: Final = frozenset(("type", "minLength", "maxLength", "pattern", "title", "description", "example"))


def key_pattern(parameters: Iterable[Mapping[str, Any]]) -> re.Pattern[bytes] | None:
    """Return what the key of an operation with these parameters has to match; None where it takes none.

    Raises:
        ValueError: there is another parameter in the head, or the schema of the key says what is not known here.
    """
    found = [each for each in parameters if each["in"] == "header"]
    if not found:
        return None
    [parameter] = found
    schema = parameter["schema"]
    if parameter["name"] != HEADER or schema["type"] != "string" or schema.keys() - _KNOWN:
        raise ValueError(f"the parameter {parameter['name']!r} of a hot operation is not a plain {HEADER}")
    size = f"(?=.{{{schema.get('minLength', 0)},{schema.get('maxLength', 1 << 16)}}}$)"
    return re.compile(f"{size}{schema.get('pattern', '')}".encode())


async def once_of(key: str, operation_id: str, body: bytes) -> Once:
    """Return what tells a request with a key from others; of a large body the digest is made in another thread."""
    if len(body) <= LARGE:
        return Once.of(key, operation_id, body)
    return await asyncio.get_running_loop().run_in_executor(READERS, Once.of, key, operation_id, body)


def named(once: Once | None) -> dict[str, Any]:
    """Return the argument that has an environment serve a call only once: none for a request without a key."""
    return {} if once is None else {ONCE: once}
