"""Values of two sides in the plain form of `local.py`: back to values, and what differs between them."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

Plain = dict[str, Any]


def value_of(given: Plain) -> Any:
    """Return the value that a plain form stands for."""
    if "dtype" in given:
        array = np.frombuffer(base64.b64decode(given["data"]), given["dtype"]).reshape(given["shape"]).copy()
        return array if given["shape"] else array[()]
    if "items" in given:
        return {key: value_of(each) for key, each in given["items"]}
    return [value_of(each) for each in given["list"]] if "list" in given else given["value"]


def difference(local: Plain, served: Plain) -> str:
    """Return in which way two values differ, or "" where they are the same to the bit, with the same type."""
    if local == served:
        return ""
    if "items" in local and "items" in served:
        ours, theirs = dict(local["items"]), dict(served["items"])
        if ours.keys() != theirs.keys():
            return f"keys {sorted(theirs)}, locally {sorted(ours)}"
        pairs = ((key, difference(ours[key], theirs[key])) for key in ours)
        return next((f"{key}: {text}" for key, text in pairs if text), "")
    if "list" in local and "list" in served and len(local["list"]) == len(served["list"]):
        return next(filter(None, map(difference, local["list"], served["list"])), "")
    ours, theirs = value_of(local), value_of(served)
    try:
        is_same = np.array_equal(ours, theirs, equal_nan=np.asarray(ours).dtype.kind in "fc")
    except (TypeError, ValueError):
        is_same = False
    if not is_same:
        return "another value"
    kinds = [_kind(local, ours), _kind(served, theirs)]
    return "" if kinds[0] == kinds[1] else f"{kinds[1]} instead of {kinds[0]}"


def _kind(given: Plain, value: Any) -> str:
    if "dtype" not in given:
        return type(value).__name__
    name = str(np.dtype(given["dtype"]))
    return f"array of {name}" if given["shape"] else f"number of {name}"


def is_type(text: str) -> bool:
    """Return whether a difference is one of types alone."""
    return " instead of " in text
