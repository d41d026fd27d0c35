"""Request headers: one value of each that has one, and all values of each that is a list (RFC 9110, 5.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .problems import HttpProblem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

SINGLE: Final = frozenset(
    (
        *(b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest", b"authorization", b"cookie"),
        *(b"access-control-request-method", b"access-control-request-private-network"),
        *(b"content-type", b"content-length", b"content-encoding", b"idempotency-key"),
        *(b"range", b"if-range", b"if-modified-since", b"if-unmodified-since"),
    )
)
"""Headers of which the guard, or what serves a request, reads one value; of two, each might read another.

`X-Request-Id` is none of them: it decides nothing, and some proxies add one of their own. The first is taken.
"""


def repetition(headers: Iterable[tuple[bytes, bytes]], single: Collection[bytes] = SINGLE) -> HttpProblem | None:
    """Return the problem of a header that has one value and is there more than once; None where there is no such header."""
    names = [name for name, _ in headers]
    for name in sorted({*single} & {*names}):
        if names.count(name) > 1:
            called = name.decode("latin-1").title()
            return HttpProblem(400, "malformed-request", f"there is more than one {called} header: send one")
    return None


def combined(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """Return a header that is a list, its lines as one; None where it is not there."""
    lines = [value.decode("latin-1") for each, value in headers if each == name]
    return ", ".join(lines) if lines else None


def has_header(scope: Mapping[str, Any], name: bytes) -> bool:
    """Return whether a request has a header; its name in lower case."""
    return any(each == name for each, _ in scope["headers"])
