"""Adjusts generated requests: live instance ids, valid actions, new idempotency keys, and nothing that a deployment minds."""

from __future__ import annotations

import itertools
import json
import re
import secrets
import zlib
from typing import TYPE_CHECKING, Any

from schemathesis import GenerationMode

from ..exchange import MSGPACK
from ..ledger import HOLD, KEY, UNKNOWN_ID
from .pool import LANES
from .schema import is_hot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from schemathesis import Case

    from ..ledger import Ledger
    from .pool import Pool

MAX_KEY_CHARACTERS = 255
MAX_VALUES = {"num_envs": 4, "steps": 100, "episodes": 3}
"""Maxima of members for which the contract allows more: lanes take memory, steps and episodes time."""

UNEXPECTED_METHODS = ["get", "post", "put", "patch"]
"""Methods with which operations are asked that lack them. Not DELETE, which may delete something where the contract is
extended; not OPTIONS and TRACE, which proxies answer themselves."""

_DIRECTORIES = ("directory", "training_dir")
_OVERFLOW = 2**31
"""From here on a number is sent as it is: implementations refuse it."""

_KEY = re.compile(f"[!-~]{{1,{MAX_KEY_CHARACTERS}}}")
_RUN = secrets.token_hex(4)
"""Makes keys differ from those of earlier runs against the same implementation."""

turns = itertools.count()


def restrain(case: Case[Any], ledger: Ledger) -> None:
    """Make a generated request harmless for a deployment: no instances of others, long calls or foreign directories."""
    share_hold(case)
    parameters = case.path_parameters or {}
    instance_id = parameters.get("instance_id")
    if instance_id is not None and ledger.may_be_foreign(str(instance_id)):
        parameters["instance_id"] = f"{UNKNOWN_ID}{instance_id}"[:64]
    if isinstance(case.body, dict):
        case.body = {
            name: _restrained(name, value, ledger)
            for name, value in case.body.items()
            # An environment is killed when a call exceeds its time-out.
            if name != "call_timeout" or not isinstance(value, int | float) or value <= 0
        }


def _restrained(name: str, value: Any, ledger: Ledger) -> Any:
    if name in _DIRECTORIES and isinstance(value, str) and value:
        return ledger.fresh_directory()
    if name in MAX_VALUES and isinstance(value, int) and not isinstance(value, bool):
        return MAX_VALUES[name] if MAX_VALUES[name] < value < _OVERFLOW else value
    return value


def is_positive(case: Case[Any]) -> bool:
    """Return whether a generated request is valid."""
    return case.meta is None or case.meta.generation.mode is GenerationMode.POSITIVE


def choose(case: Case[Any], count: int) -> int:
    """Return a number below `count` that depends on the request only: hypothesis replays requests."""
    return zlib.crc32(repr((case.path_parameters, case.body)).encode(errors="backslashreplace")) % count


def renew_key(case: Case[Any]) -> None:
    """Replace a valid idempotency key by a new one of its length: a used key is refused, and few are generated."""
    key = case.headers.get(KEY) if case.headers else None
    if isinstance(key, str) and _KEY.fullmatch(key):
        turn = f"-{_RUN}-{next(turns)}"
        case.headers[KEY] = f"{key[: MAX_KEY_CHARACTERS - len(turn)]}{turn}"


def share_hold(case: Case[Any]) -> None:
    """Take generated tokens away, which no hold has, and exclusive holds, which refuse all other requests."""
    if not is_positive(case):
        return
    if case.headers:
        case.headers.pop(HOLD, None)
    if isinstance(case.body, dict) and case.operation.definition.raw["operationId"] == "holdEnv":
        case.body = {**case.body, "mode": "shared"}


def aim(case: Case[Any], pool: Pool, sample: Callable[[str], Any]) -> None:
    """Address a valid request to a live instance with an action of `sample`, or to an environment; renew its key."""
    if is_positive(case) and "instance_id" in (case.path_parameters or {}):
        operation = case.operation.definition.raw
        instance_id = case.path_parameters["instance_id"] = pool.take(operation)
        if "snapshot_id" in case.path_parameters:
            case.path_parameters["snapshot_id"] = pool.snapshot(instance_id, operation)
        fit(case, sample)
    if is_positive(case) and "env_id" in (case.path_parameters or {}) and choose(case, 2):
        case.path_parameters["env_id"] = "CartPole-v1"
    renew_key(case)
    share_hold(case)


def steer(case: Case[Any], env_ids: Sequence[str], sample: Callable[[str], Any]) -> None:
    """Make a valid request of a sequence succeed more often.

    Three of four createEnv get one of `env_ids` and arguments for it: generated environments hardly ever exist.
    """
    renew_key(case)
    share_hold(case)
    if not is_positive(case):
        return
    is_create = case.operation.definition.raw["operationId"] == "createEnv"
    if is_create and isinstance(case.body, dict) and choose(case, 4):
        lanes = {"num_envs": LANES} if case.body.get("num_envs") else {}
        env_id = env_ids[choose(case, len(env_ids))]
        case.body = {**case.body, "env_id": env_id, "kwargs": {}, "render_mode": None, **lanes}
    elif "instance_id" in case.path_parameters:
        fit(case, sample)


def fit(case: Case[Any], sample: Callable[[str], Any]) -> None:
    """Give two of three requests of an instance actions of its action space: generated ones hardly ever are."""
    parameters = case.path_parameters
    body = case.body if isinstance(case.body, dict) else {}
    if not ("x" in parameters or body.keys() & {"action", "actions"}) or choose(case, 3) == 0:
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
    """Return the `Accept` header: MessagePack if the body is, and for every other bodyless hot request."""
    wants_packed = case.media_type == MSGPACK or (
        is_hot(case.operation.definition.raw) and case.media_type is None and next(turns) % 2
    )
    return {"Accept": MSGPACK} if wants_packed else {}
