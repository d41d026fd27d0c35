"""What garbage collection of a serving process scans."""

from __future__ import annotations

import gc

import pytest

from gym_http_server.support import garbage
from gym_http_server.support.garbage import MAX_COLLECTION_SECONDS, Survivors


@pytest.mark.parametrize(("seconds", "is_exempt"), [(0.5 * MAX_COLLECTION_SECONDS, False), (0.1, True)])
def test_what_a_long_collection_leaves_is_not_scanned_again(
    monkeypatch: pytest.MonkeyPatch, seconds: float, is_exempt: bool
) -> None:
    """What a whole collection leaves is exempt if it took long, and until the end."""
    now = 0.0

    def later() -> float:
        nonlocal now
        now += seconds
        return now

    survivors = Survivors()
    survivors.exempt()
    try:
        kept = [[] for _ in range(1000)]
        monkeypatch.setattr(garbage.time, "thread_time", later)
        gc.collect(1)
        assert len(kept) <= len(gc.get_objects())
        gc.collect()
        assert (len(gc.get_objects()) < len(kept)) is is_exempt
    finally:
        survivors.release()
    assert gc.get_freeze_count() == 0
    assert survivors._on_collection not in gc.callbacks


def test_what_the_caller_has_exempt_stays_so() -> None:
    """And nothing is added to it after the start, which could not be told from it at the end."""
    gc.freeze()
    try:
        callbacks = list(gc.callbacks)
        survivors = Survivors()
        survivors.exempt()
        assert gc.callbacks == callbacks
        survivors.release()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
