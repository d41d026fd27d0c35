"""Adjusts generated requests: live instance ids, valid actions, unused idempotency keys."""

from __future__ import annotations

import itertools
import json
import re
import secrets
import zlib
from typing import TYPE_CHECKING, Any

from schemathesis import GenerationMode

from .pool import LANES
from .schema import MSGPACK, is_hot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from schemathesis import Case

    from .pool import Pool

MOST_OF_A_KEY = 255
_KEY = re.compile(f"[!-~]{{1,{MOST_OF_A_KEY}}}")

_RUN = secrets.token_hex(4)
"""Keys of other runs are used, too: the implementation may have been checked before."""

turns = itertools.count()


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
        operation = case.operation.definition.raw
        instance_id = case.path_parameters["instance_id"] = pool.take(operation)
        if "snapshot_id" in case.path_parameters:
            case.path_parameters["snapshot_id"] = pool.snapshot(instance_id, operation)
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
