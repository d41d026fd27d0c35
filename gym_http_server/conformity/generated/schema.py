"""Schemathesis configuration for the contract: enabled checks, and MessagePack.

The kit's suite and the project's own tests are made with it.
"""

from __future__ import annotations

import copy
from collections import Counter
from types import FunctionType
from typing import TYPE_CHECKING, Any

import hypothesis
import msgpack
import schemathesis
from hypothesis import HealthCheck
from schemathesis.config import SchemathesisConfig

from ...contract import load_contract
from ..contract import unpacked

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemathesis.schemas import BaseSchema

MSGPACK = "application/msgpack"
NO_MSGPACK = b"\xc1"
"""The one byte that begins nothing in MessagePack."""

CONFIG = {
    "checks": {
        # A value that fits the schema may still be refused: an environment id that nobody registers, an action
        # outside of this environment's space (400), a step before the first reset (409), a rollout or batch over the
        # server's limits (413), a directory outside of the results roots (403), an evaluation that nobody made (404), a
        # key that was used before (422), a snapshot over the limit (429).
        "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "403", "404", "409", "413", "422", "429"]},
        # A body over the server's limit is not read (413), and the rest are schemathesis's own.
        "negative_data_rejection": {
            "expected-statuses": [
                *("400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "5xx")
            ]
        },
        # The v1 contract answers 400 for an instance that is unknown, closed ones included, and its own test suite
        # asserts that; these checks want 404.
        "use_after_free": {"enabled": False},
        "ensure_resource_availability": {"enabled": False},
    },
    "generation": {"mode": "all"},
    # The contract knows no redirects.
    "max-redirects": 0,
}

packed: Counter[str] = Counter()
"""How many bodies and replies were MessagePack."""


def load_schema(**further: Any) -> BaseSchema:
    """Return the contract as schemathesis has it.

    Args:
        further: what its configuration has besides `CONFIG`.
    """
    config = SchemathesisConfig.from_dict(CONFIG | further)
    return schemathesis.openapi.from_dict(copy.deepcopy(load_contract().document), config=config)


def budget(examples: int, base: hypothesis.settings | None = None, **further: Any) -> hypothesis.settings:
    """Return settings for so many examples.

    Args:
        examples: how many.
        base: what they have besides; None for the current profile's.
        further: more of them.
    """
    # Each example is a request to a live server, and examples share it by design.
    return hypothesis.settings(
        base, max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), **further
    )


def each_operation(
    schema: BaseSchema,
    settings: hypothesis.settings,
    only: Callable[[dict[str, Any]], bool] = lambda _: True,
) -> Callable[[Callable[..., None]], None]:
    """Make a test of its own for each operation, named after it: pytest takes what schemathesis makes of one for the same.

    Args:
        schema: the whole schema.
        settings: the budget of each.
        only: for which operations, by what the contract has of them.
    """

    def make(function: Callable[..., None]) -> None:
        if not isinstance(function, FunctionType):
            raise TypeError(f"expected a function, not {function!r}")
        for operation in load_contract().operations():
            if not only(operation):
                continue
            operation_id = operation["operationId"]
            name = f"{function.__name__}_{operation_id}"
            test = FunctionType(function.__code__, function.__globals__, name)
            test.__annotations__, test.__doc__ = function.__annotations__, function.__doc__
            test.__module__ = function.__module__
            # Of the whole schema: what is included adds to what was.
            chosen = schema.include(operation_id=operation_id)
            function.__globals__[name] = chosen.parametrize()(settings(test))

    return make


def is_hot(operation: dict[str, Any]) -> bool:
    """Return whether an operation is one of a training loop."""
    return bool(operation.get("x-hot-path"))


@schemathesis.serializer(MSGPACK)
def serialize(context: Any, value: Any) -> bytes:  # noqa: ARG001 -- schemathesis's signature
    """Return a generated value as MessagePack."""
    packed["bodies"] += 1
    if isinstance(value, bytes):
        return value
    try:
        content: bytes = msgpack.packb(value)
    except (OverflowError, UnicodeEncodeError, ValueError):
        # An integer beyond 64 bits, a lone surrogate, or too deep: it has no form there, and nor has this.
        content = NO_MSGPACK
    return content


@schemathesis.deserializer(MSGPACK)
def deserialize(context: Any, response: Any) -> Any:  # noqa: ARG001 -- schemathesis's signature
    """Return what a reply holds."""
    packed["replies"] += 1
    return unpacked(response.content)
