"""Schemathesis's configuration for the contract, with MessagePack; the project's own tests use it, too."""

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
from ..exchange import MSGPACK

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemathesis.schemas import BaseSchema

INVALID_MSGPACK = b"\xc1"
"""The byte that MessagePack never uses."""

CONFIG = {
    "checks": {
        # Valid values that are refused: an unregistered environment id, an action outside of the action space (400), a
        # directory outside of the results roots (403), an unknown evaluation (404), a step before the first reset (409),
        # a rollout or batch over a limit (413), a used key (422), a snapshot over the limit (429).
        "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "403", "404", "409", "413", "422", "429"]},
        # Schemathesis's own, and 413 for a body over the server's limit.
        "negative_data_rejection": {
            "expected-statuses": [
                *("400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429", "5xx")
            ]
        },
        # These checks expect 404; the v1 contract has 400 for unknown and closed instances.
        "use_after_free": {"enabled": False},
        "ensure_resource_availability": {"enabled": False},
    },
    "generation": {"mode": "all"},
    # The contract knows no redirects.
    "max-redirects": 0,
}

packed: Counter[str] = Counter()
"""Numbers of MessagePack bodies and replies."""


def load_schema(**further: Any) -> BaseSchema:
    """Return schemathesis's schema of the contract, configured by `CONFIG` and `further`."""
    config = SchemathesisConfig.from_dict(CONFIG | further)
    return schemathesis.openapi.from_dict(copy.deepcopy(load_contract().document), config=config)


def budget(examples: int, base: hypothesis.settings | None = None, **further: Any) -> hypothesis.settings:
    """Return `base`, or the current profile of hypothesis, for tests that share a live server."""
    return hypothesis.settings(
        base, max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), **further
    )


def each_operation(
    schema: BaseSchema,
    settings: hypothesis.settings,
    only: Callable[[dict[str, Any]], bool] = lambda _: True,
) -> Callable[[Callable[..., None]], None]:
    """Make a separate test for each operation, named after it: schemathesis gives all tests of one function the same name.

    Args:
        schema: the whole schema.
        settings: the settings of each test.
        only: selects operations by their definition in the contract.
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
            # From the whole schema: `include` adds to earlier includes.
            chosen = schema.include(operation_id=operation_id)
            function.__globals__[name] = chosen.parametrize()(settings(test))

    return make


def is_hot(operation: dict[str, Any]) -> bool:
    """Return whether an operation is on the hot path."""
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
        # MessagePack has no integers beyond 64 bits, lone surrogates, or values that deep.
        content = INVALID_MSGPACK
    return content


@schemathesis.deserializer(MSGPACK)
def deserialize(context: Any, response: Any) -> Any:  # noqa: ARG001 -- schemathesis's signature
    """Return the value of a MessagePack reply."""
    packed["replies"] += 1
    return unpacked(response.content)
