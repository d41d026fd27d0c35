"""What schemathesis needs to know of the contract: which of its checks hold, MessagePack, and whom to ask.

The kit's suite and the project's own tests are made with it.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
import secrets
import zlib
from collections import Counter
from types import FunctionType
from typing import TYPE_CHECKING, Any

import hypothesis
import msgpack
import schemathesis
from hypothesis import HealthCheck
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup

from ..spec import load_contract
from .contract import unpacked
from .pool import LANES
from .session import KitSession

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import requests
    from schemathesis import Case
    from schemathesis.core.transport import Response
    from schemathesis.schemas import BaseSchema

    from .pool import Pool

MSGPACK = "application/msgpack"
NO_MSGPACK = b"\xc1"
"""The one byte that begins nothing in MessagePack."""

CONFIG = {
    "checks": {
        # A value that fits the schema may still be refused: an environment id that nobody registers, an action
        # outside of this environment's space (400), a step before the first reset (409), a rollout or batch over the
        # server's limits (413), a directory outside of the results roots (403), an evaluation that nobody made (404), a
        # key that was used before (422).
        "positive_data_acceptance": {"expected-statuses": ["2xx", "400", "403", "404", "409", "413", "422"]},
        # The v1 contract answers 400 for an instance that is unknown, closed ones included, and its own test suite
        # asserts that; these checks want 404.
        "use_after_free": {"enabled": False},
        "ensure_resource_availability": {"enabled": False},
    },
    "generation": {"mode": "all"},
    # The contract knows no redirects.
    "max-redirects": 0,
}

MOST_OF_A_KEY = 255
_KEY = re.compile(f"[!-~]{{1,{MOST_OF_A_KEY}}}")

_RUN = secrets.token_hex(4)
"""Keys of other runs are used, too: the implementation may have been checked before."""

turns = itertools.count()
packed: Counter[str] = Counter()
"""How many bodies and replies were MessagePack."""


def load_schema(**further: Any) -> BaseSchema:
    """Return the contract as schemathesis has it.

    Args:
        further: what its configuration has besides `CONFIG`.
    """
    config = SchemathesisConfig.from_dict(CONFIG | further)
    return schemathesis.openapi.from_dict(copy.deepcopy(load_contract().document), config=config)


def load_linked_schema() -> BaseSchema:
    """Return the operations that follow on createEnv along the contract's links, for good requests only.

    What schemathesis makes of a request that is to be a bad one is not always the same when hypothesis plays a sequence
    again; each operation has its bad requests by itself.
    """
    links = load_contract().document["components"]["responses"]["EnvCreated"]["links"]
    return load_schema(generation={"mode": "positive"}).include(operation_id=["createEnv", *links])


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
    named: Callable[[FunctionType, str], None] = lambda *_: None,
) -> Callable[[Callable[..., None]], None]:
    """Make a test of its own for each operation, named after it: pytest takes what schemathesis makes of one for the same.

    Args:
        schema: the whole schema.
        settings: the budget of each.
        only: for which operations, by what the contract has of them.
        named: is called with each test and its operation's id.
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
            named(test, operation_id)
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


def is_positive(case: Case[Any]) -> bool:
    """Return whether a generated request is a good one."""
    return case.meta is None or case.meta.generation.mode is GenerationMode.POSITIVE


def one_of(case: Case[Any], count: int) -> int:
    """Return a number below `count` that is always the same for the same request: hypothesis plays it again."""
    return zlib.crc32(repr((case.path_parameters, case.body)).encode(errors="backslashreplace")) % count


def rename(case: Case[Any]) -> None:
    """Give a request that has a key one of its own, as long as it was: the generated ones are few, and a used one is refused."""
    key = case.headers.get("Idempotency-Key") if case.headers else None
    if isinstance(key, str) and _KEY.fullmatch(key):
        turn = f"-{_RUN}-{next(turns)}"
        case.headers["Idempotency-Key"] = f"{key[: MOST_OF_A_KEY - len(turn)]}{turn}"


def aim(case: Case[Any], pool: Pool, sample: Callable[[str], Any]) -> None:
    """Make a good request one of a live instance, where it is one of an instance, and its key one of its own.

    Args:
        case: the request.
        pool: has the instances.
        sample: returns an action of an instance, or None.
    """
    if is_positive(case) and "instance_id" in (case.path_parameters or {}):
        case.path_parameters["instance_id"] = pool.take(case.operation.definition.raw)
        fit(case, sample)
    rename(case)


def steer(case: Case[Any], env_ids: Sequence[str], sample: Callable[[str], Any]) -> None:
    """Make a good request along the links one that leads somewhere.

    Three createEnv of four name an environment that is served, with what it takes: what is generated hardly ever does.

    Args:
        case: the request.
        env_ids: what is served.
        sample: returns an action of an instance, or None.
    """
    rename(case)
    if not is_positive(case):
        return
    is_create = case.operation.definition.raw["operationId"] == "createEnv"
    if is_create and isinstance(case.body, dict) and one_of(case, 4):
        lanes = {"num_envs": LANES} if case.body.get("num_envs") else {}
        env_id = env_ids[one_of(case, len(env_ids))]
        case.body = {**case.body, "env_id": env_id, "kwargs": {}, "render_mode": None, **lanes}
    elif "instance_id" in case.path_parameters:
        fit(case, sample)


def fit(case: Case[Any], sample: Callable[[str], Any]) -> None:
    """Give a request of an instance actions that it takes, two times of three: what is generated hardly ever is one."""
    parameters = case.path_parameters
    body = case.body if isinstance(case.body, dict) else {}
    if not ("x" in parameters or body.keys() & {"action", "actions"}) or one_of(case, 3) == 0:
        return
    action = sample(parameters["instance_id"])
    if action is None:
        return
    if "x" in parameters:
        parameters["x"] = json.dumps(action)
    else:
        actions = {"action": action, "actions": [action] * LANES}
        case.body = {name: actions.get(name, value) for name, value in body.items()}


def accepted(case: Case[Any]) -> dict[str, str]:
    """Return the `Accept` of a generated request: MessagePack where one is sent, and in turn where nothing is."""
    wants_packed = case.media_type == MSGPACK or (
        is_hot(case.operation.definition.raw) and case.media_type is None and next(turns) % 2
    )
    return {"Accept": MSGPACK} if wants_packed else {}


def run_sequences(
    schema: BaseSchema,
    settings: hypothesis.settings,
    prepare: Callable[[Case[Any]], None],
    session: requests.Session,
    finish: Callable[[], None] = lambda: None,
    **sending: Any,
) -> None:
    """Make calls along the links of the contract: create, then whatever takes the new instance's id.

    Args:
        schema: what to call.
        settings: how many sequences, and of how many steps (`stateful_step_count`).
        prepare: is called with each request before it is sent.
        session: to send by; one of the kit's explains what is found.
        finish: is called after each sequence.
        sending: how schemathesis is to send, at least the `base_url`.
    """

    class Sequences(schema.as_state_machine()):  # type: ignore[misc]  # a class that schemathesis makes
        def before_call(self, case: Case[Any]) -> None:
            prepare(case)

        def get_call_kwargs(self, case: Case[Any]) -> dict[str, Any]:  # noqa: ARG002 -- schemathesis's signature
            return {**sending, "session": session}

        def validate_response(self, response: Response, case: Case[Any], **options: Any) -> None:
            try:
                super().validate_response(response, case, **options)
            except FailureGroup as error:
                if isinstance(session, KitSession):
                    session.explain(error, response)
                raise

        def teardown(self) -> None:
            finish()

    Sequences.run(settings=settings)
