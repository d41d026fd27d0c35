"""A progress bar, on stderr where that is a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")


def bar(items: Iterable[T], text: str, unit: str, total: int | None = None) -> Iterable[T]:
    """Yield the items, and show how many there were of `total`."""
    from tqdm import tqdm

    return tqdm(items, text, total, unit=f" {unit}", disable=None, leave=False)
