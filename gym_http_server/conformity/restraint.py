"""Limits on generated requests: no long calls, and only the kit's own directories."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .ledger import NOBODY

if TYPE_CHECKING:
    from schemathesis import Case

    from .implementation import Implementation

MOST = {"num_envs": 4, "steps": 100, "episodes": 3}
"""What a request may ask for at most where the contract allows more: lanes take memory, steps and episodes time."""

LEFT_OUT = ("call_timeout",)
"""Members that are not sent: an environment is killed when a call takes longer."""

DIRECTORIES = ("directory", "training_dir")

UNEXPECTED_METHODS = ["get", "post", "put", "patch"]
"""Methods by which operations are asked that do not have them. Not DELETE, which may delete something where the contract is
extended; not OPTIONS and TRACE, which proxies answer themselves."""

_LARGEST = 2**31


def restrain(case: Case[Any], implementation: Implementation) -> None:
    """Make a generated request one that a deployment can be asked."""
    parameters = case.path_parameters or {}
    instance_id = parameters.get("instance_id")
    if instance_id is not None and implementation.ledger.could_be_anothers(str(instance_id)):
        parameters["instance_id"] = f"{NOBODY}{instance_id}"[:64]
    if isinstance(case.body, dict):
        case.body = {
            name: _restrained(name, value, implementation)
            for name, value in case.body.items()
            if name not in LEFT_OUT or not isinstance(value, int | float) or value <= 0
        }


def _restrained(name: str, value: Any, implementation: Implementation) -> Any:
    if name in DIRECTORIES and isinstance(value, str) and value:
        return implementation.ledger.fresh_directory()
    if name in MOST and isinstance(value, int) and not isinstance(value, bool) and MOST[name] < value < _LARGEST:
        return MOST[name]
    return value
