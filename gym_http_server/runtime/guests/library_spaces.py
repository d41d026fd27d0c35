"""Spaces of the libraries in a guest, of whichever version, as plain values. Valid Python 3.7, because the guest is sent this file too."""

from __future__ import annotations

import contextlib
import sys

import numpy as np


def kind_of(space):
    """Return the name of the library's class that a space is of, or None."""
    return next(
        (cls.__name__ for cls in type(space).__mro__ if cls.__module__.startswith(("gym.spaces", "gymnasium.spaces"))),
        None,
    )


def contains(space, value):
    try:
        return bool(space.contains(value))
    except Exception:
        return False


def fitted(space, value):
    """Return an action with the library's own class of graphs."""
    kind = kind_of(space)
    if kind == "Graph":
        return sys.modules[type(space).__module__].GraphInstance(*value)
    if kind == "Tuple":
        return tuple(fitted(part, item) for part, item in zip(space.spaces, value))
    if kind == "Dict":
        return {key: fitted(part, value[key]) for key, part in space.spaces.items()}
    if kind == "OneOf":
        return value[0], fitted(space.spaces[value[0]], value[1])
    if kind == "Sequence" and not getattr(space, "stack", False):
        return tuple(fitted(space.feature_space, item) for item in value)
    return value


def describe(space):
    """Return a space as plain values and arrays."""
    kind = kind_of(space)
    if kind in ("Tuple", "OneOf"):
        return {"name": kind, "spaces": [describe(part) for part in space.spaces]}
    if kind == "Dict":
        return {"name": kind, "spaces": [(key, describe(part)) for key, part in space.spaces.items()]}
    if kind == "Sequence":
        return {"name": kind, "space": describe(space.feature_space), "stack": bool(getattr(space, "stack", False))}
    if kind == "Graph":
        edges = space.edge_space
        return {"name": kind, "nodes": describe(space.node_space), "edges": None if edges is None else describe(edges)}
    if kind == "Text":
        characters = "".join(getattr(space, "character_list", None) or sorted(space.character_set))
        return {"name": kind, "min": int(space.min_length), "max": int(space.max_length), "characters": characters}
    dtype = np.dtype(getattr(space, "dtype", None) or (np.float32 if kind == "Box" else np.int64)).str
    if kind == "Box":
        names = [name for name in ("bounded_below", "bounded_above") if hasattr(space, name)]
        sides = {name: np.asarray(getattr(space, name)) for name in names}
        return dict(sides, name=kind, low=np.asarray(space.low), high=np.asarray(space.high), dtype=dtype)
    if kind == "Discrete":
        return {"name": kind, "n": int(space.n), "start": int(getattr(space, "start", 0)), "dtype": dtype}
    if kind == "MultiDiscrete":
        nvec = np.asarray(space.nvec)
        # gym before 0.12 has int8, whatever the sizes are.
        wide = dtype if int(nvec.max(initial=1)) - 1 <= np.iinfo(dtype).max else "<i8"
        start = np.asarray(getattr(space, "start", np.zeros_like(nvec)))
        return {"name": kind, "nvec": nvec.astype(np.int64), "start": start.astype(np.int64), "dtype": wide}
    if kind == "MultiBinary":
        size = space.n if isinstance(space.n, (int, np.integer)) else [int(length) for length in space.n]
        return {"name": kind, "n": size if isinstance(size, list) else int(size)}
    like = None
    with contextlib.suppress(Exception):
        like = np.zeros(tuple(space.shape), space.dtype or "U1")
    return {"name": type(space).__name__, "is_unknown": True, "like": like}
