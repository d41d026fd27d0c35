"""Reading JSON bodies, strictly: what connexion's own reader lets through or fails on ends in a clear 400 here."""

from __future__ import annotations

import json
import re
import warnings
from typing import TYPE_CHECKING, Any

from .problems import HttpProblem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Scope

with warnings.catch_warnings():
    # See problems.py.
    warnings.simplefilter("ignore")
    from connexion.validators import JSONRequestBodyValidator

MAX_DEPTH = 100
"""Deepest nesting of arrays and objects; numpy has at most 64 dimensions, and spaces nest a few times more."""
_LONG_INTEGER = re.compile(rb"\d{19}")
_LEAST, _GREATEST = -(2**63), 2**64 - 1


def parse_json(body: bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        HttpProblem: 400 where it is not UTF-8, not JSON (NaN and Infinity are not), nested deeper than `MAX_DEPTH`, or
            holds an integer outside of 64 bits.
    """
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise _malformed(f"not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise _malformed(str(error)) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        # The interpreter refuses to read integers of thousands of digits.
        raise _malformed(str(error).split(";", 1)[0]) from None
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _check_depth(value)
    if _LONG_INTEGER.search(body):
        _check_integers(value)
    return value


class StrictJsonValidator(JSONRequestBodyValidator):  # type: ignore[misc]  # connexion has no types
    """connexion's validator of JSON bodies, with `parse_json` as its reader."""

    async def _parse(self, stream: AsyncGenerator[bytes, None], scope: Scope) -> Any:  # noqa: ARG002 -- connexion's signature
        body = b"".join([part async for part in stream])
        return parse_json(body) if body else None


def _refuse_constant(name: str) -> None:
    raise _malformed(f"{name} is not JSON: send null for NaN, and ±1e100 for ±infinity")


def _malformed(why: str) -> HttpProblem:
    return HttpProblem(400, "malformed-json", f"the body is not JSON: {why}")


def _too_deep() -> HttpProblem:
    return HttpProblem(400, "malformed-json", f"the body is nested deeper than {MAX_DEPTH} levels", limit=MAX_DEPTH)


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level:
        level = [item for each in level for item in _items(each) if isinstance(item, (list, dict))]
        depth += 1
        if depth > MAX_DEPTH:
            raise _too_deep()


def _check_integers(value: Any) -> None:
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, (list, dict)):
            todo.extend(_items(each))
        elif isinstance(each, int) and not _LEAST <= each <= _GREATEST:
            raise HttpProblem(400, "malformed-json", "the body holds an integer that does not fit in 64 bits")


def _items(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
