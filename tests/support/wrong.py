"""Implementations that are wrong in one thing each: what a reverse proxy does to requests and replies of a right one."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from typing import Any, Final

from .reverse_proxy import Change, Passing

_STEP: Final = re.compile(r"/v1/envs/[^/]+/step/?")


def _replies(change: Callable[[dict[str, Any]], None]) -> Change:
    """Return what changes every reply that is a JSON object."""

    def after(passing: Passing) -> None:
        if "json" in passing.reply_headers.get("content-type", ""):
            value = json.loads(passing.reply)
            change(value)
            passing.reply = json.dumps(value).encode()

    return after


def each_of(*changes: Change) -> Change:
    """Return what makes several changes, one after another."""

    def after(passing: Passing) -> None:
        for change in changes:
            change(passing)

    return after


def integer_reward(value: dict[str, Any]) -> None:
    if isinstance(value.get("reward"), float):
        value["reward"] = int(value["reward"])


def without_done(value: dict[str, Any]) -> None:
    value.pop("done", None)


def without_message(value: dict[str, Any]) -> None:
    value.pop("message", None)


def refused_without_message(passing: Passing) -> None:
    if passing.path.rstrip("/") == "/v1/envs":
        _replies(without_message)(passing)


def null_info(value: dict[str, Any]) -> None:
    if value.get("info") == {}:
        value["info"] = None


def listed_n(value: dict[str, Any]) -> None:
    if isinstance(value.get("info"), dict) and "n" in value["info"]:
        value["info"]["n"] = [value["info"]["n"]]


def unknown_is_404(passing: Passing) -> None:
    if passing.status == 400 and b"Instance_id" in passing.reply:
        passing.status = 404


def void_is_204(passing: Passing) -> None:
    if passing.status == 200 and passing.reply == b"{}":
        passing.status, passing.reply, passing.reply_headers = 204, b"", {}


def compressed_unasked(passing: Passing) -> None:
    if len(passing.reply) > 1000 and "accept-encoding" not in passing.headers:
        passing.reply = gzip.compress(passing.reply)
        passing.reply_headers["content-encoding"] = "gzip"


def redirected(passing: Passing) -> None:
    path = passing.path.partition("?")[0]
    if path.startswith("/v1/") and not path.endswith("/") and "contains" not in path and "sample" not in path:
        passing.status, passing.reply_headers = 307, {"location": f"{path}/"}


def without_steps(value: dict[str, Any]) -> None:
    if "trajectory_bytes" in value:
        value["trajectory_bytes"] = 0


def without_seed(passing: Passing) -> None:
    # As long as it was, so that its length is still right.
    passing.body = re.sub(rb'"seed": \d+', lambda found: b'"seed": null'.ljust(len(found[0])), passing.body)
    passing.headers["content-length"] = str(len(passing.body))


def without_key(passing: Passing) -> None:
    if _STEP.fullmatch(passing.path):
        passing.headers.pop("idempotency-key", None)


WRONG: Final[dict[str, dict[str, Change]]] = {
    "a reward that is an integer": {"after": _replies(integer_reward)},
    "replies that lack what is required": {
        "after": each_of(_replies(without_done), refused_without_message, void_is_204)
    },
    "no message": {"after": _replies(without_message)},
    "info null": {"after": _replies(null_info)},
    "a list under n": {"after": _replies(listed_n)},
    "404 for an unknown instance": {"after": unknown_is_404},
    "204 where there is nothing to say": {"after": void_is_204},
    "compressed unasked": {"after": compressed_unasked},
    "a redirect for a missing slash": {"before": redirected},
    "a seed that is ignored": {"before": without_seed},
    "a step done twice, and none kept": {"before": without_key, "after": _replies(without_steps)},
}
"""By what is wrong, the arguments of the proxy."""
