"""Summaries of large values, for viewers to whom a thousand numbers say nothing."""

from __future__ import annotations

from typing import Any

import numpy as np


def summarised(value: Any, max_elements: int | None) -> Any:
    """Return an encoded value with a summary instead of each array, list and text that has more elements.

    Args:
        value: what an encoder of a space returned.
        max_elements: maximum number of elements, or characters; None for no maximum.
    """
    if max_elements is None:
        return value
    if isinstance(value, np.ndarray):
        return _of_array(value) if value.size > max_elements else value
    if isinstance(value, dict):
        return {key: summarised(part, max_elements) for key, part in value.items()}
    if isinstance(value, list | tuple):
        if len(value) > max_elements:
            return {"summary_of": "list", "shape": [len(value)]}
        return [summarised(part, max_elements) for part in value]
    if isinstance(value, str) and len(value) > max_elements:
        return {"summary_of": "text", "shape": [len(value)]}
    return value


def _of_array(array: np.ndarray[Any, Any]) -> dict[str, Any]:
    summary = {"summary_of": "array", "shape": list(array.shape), "dtype": str(array.dtype)}
    if array.dtype.kind not in "biuf":
        return summary
    return {
        **summary,
        "min": array.min().item(),
        "max": array.max().item(),
        "mean": float(array.mean(dtype=np.float64)),
    }
