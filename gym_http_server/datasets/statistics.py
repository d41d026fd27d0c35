"""`Statistics`: minimum, maximum, mean and standard deviation of a feature, of an episode and then of all."""

from __future__ import annotations

from typing import Any, Self

import numpy as np


class Statistics:
    """Statistics over the first axis of arrays, added batch by batch."""

    def __init__(self) -> None:
        self.count = 0
        self._low: Any = np.inf
        self._high: Any = -np.inf
        self._mean: Any = 0.0
        self._squares: Any = 0.0

    def add(self, rows: np.ndarray[Any, Any]) -> None:
        """Add rows."""
        values = rows.astype(np.float64)
        mean = values.mean(axis=0)
        self._merge(len(values), values.min(axis=0), values.max(axis=0), mean, ((values - mean) ** 2).sum(axis=0))

    def add_images(self, images: np.ndarray[Any, Any]) -> None:
        """Add images of bytes, whose channels are the last axis and whose pixels become numbers from 0 to 1."""
        self.add((images.reshape(-1, images.shape[-1]) / 255.0)[:, :, None, None])

    def merge(self, other: Self) -> None:
        """Add the rows of others."""
        self._merge(other.count, other._low, other._high, other._mean, other._squares)

    def _merge(self, count: int, low: Any, high: Any, mean: Any, squares: Any) -> None:
        if not count:
            return
        total = self.count + count
        apart = mean - self._mean
        self._mean = self._mean + apart * (count / total)
        self._squares = self._squares + squares + apart**2 * (self.count * count / total)
        self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
        self.count = total

    def told(self, count: int) -> dict[str, Any]:
        """Return them as plain values; `count` is the number of frames."""
        std = np.sqrt(self._squares / self.count)
        numbers = {"min": self._low, "max": self._high, "mean": self._mean, "std": std}
        return {**{name: np.atleast_1d(value).tolist() for name, value in numbers.items()}, "count": [count]}
