"""Request headers: repeated single-value headers are refused, lists are joined (RFC 9110, 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .problems import HttpProblem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

SINGLE_VALUE_HEADERS: Final = frozenset(
    (
        *(b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest", b"authorization", b"cookie"),
        *(b"access-control-request-method", b"access-control-request-private-network"),
        *(b"content-type", b"content-length", b"content-encoding", b"idempotency-key"),
        *(b"range", b"if-range", b"if-modified-since", b"if-unmodified-since"),
    )
)
"""Headers that may appear once: of two values, the guard and a handler might read different ones.

`X-Request-Id` is not among them: it decides nothing, and some proxies add another. The first one is used.
"""


def repetition(
    headers: Iterable[tuple[bytes, bytes]], single: Collection[bytes] = SINGLE_VALUE_HEADERS
) -> HttpProblem | None:
    """Return the problem with a single-value header that is repeated, or None."""
    names = [name for name, _ in headers]
    for name in sorted({*single} & {*names}):
        if names.count(name) > 1:
            called = name.decode("latin-1").title()
            return HttpProblem(400, "malformed-request", f"there is more than one {called} header: send one")
    return None


def combined(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """Return the lines of a list header joined by commas, or None if it is absent."""
    lines = [value.decode("latin-1") for each, value in headers if each == name]
    return ", ".join(lines) if lines else None


def has_header(scope: Mapping[str, Any], name: bytes) -> bool:
    """Return whether a request has a header; `name` is in lower case."""
    return any(each == name for each, _ in scope["headers"])
