"""`Keeper`: renews the leases of this process's instances, and closes instances whose objects were garbage collected.

A keeper has one thread, which runs while there is something to keep. It renews all leases with one request, several times
within the shortest; a failed renewal is tried again, and no error reaches the program. A finalizer may run anywhere, also
inside the keeper's own calls, so it only puts a message on a reentrant queue (`queue.SimpleQueue`).

At the end of the process the remaining instances are closed, within a few seconds; the leases of the others end. A forked
process keeps nothing of its parent's. The thread pauses during a fork, because Python warns of forks with threads.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from .operations import Operations

LEASE_SECONDS: Final = 240.0
"""The lease of an instance that this client makes; the server notices within a tenth of it that it has run out."""

MAX_RENEWED_LEASES: Final = 4096
"""Maximum number of leases in a request."""

_RENEWALS_PER_LEASE: Final = 4
_RETRY_FRACTION: Final = 0.25  # of the time between two renewals, after which a failed one is tried again
_TIMEOUT_SECONDS: Final = 20.0
_EXIT_TIMEOUT_SECONDS: Final = 2.0
_EXIT_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 1.0
_LINGER_SECONDS: Final = 1.0


class Keeper:
    """Keeps the instances of this process on one server; threads may share it.

    Args:
        new_client: makes a client of the server, with the keyword arguments `timeout` in seconds and `retries`.
    """

    def __init__(self, new_client: Callable[..., Operations]) -> None:
        self._new_client = new_client
        self._client: Operations | None = None
        self._pid = os.getpid()
        # What is kept. The thread and finalizers change these without a lock: each change is one operation of a dict.
        self._leases: dict[str, float] = {}
        self._owned: dict[str, None] = {}
        self._abandoned: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        # The thread.
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_paused = False
        # Renewals; they outlive the thread, which ends with each fork.
        self._renewed_at = time.monotonic()
        self._failing_since: float | None = None

    def renew(self, instance_id: str, lease: float) -> None:
        """Renew a lease of `lease` seconds from now on."""
        if not self._leases:
            self._renewed_at = time.monotonic()
        self._leases[instance_id] = lease
        self._wake()

    def own(self, owner: object, instance_id: str) -> None:
        """Close an instance when its owner is garbage collected, or at the end of the process."""
        self._owned[instance_id] = None
        weakref.finalize(owner, self._abandon, instance_id).atexit = False
        _close_at_the_end_of_a_worker()
        self._wake()

    def forget(self, instance_id: str) -> None:
        """Stop renewing and owning an instance."""
        self._leases.pop(instance_id, None)
        self._owned.pop(instance_id, None)
        if self._is_idle:
            self._abandoned.put(None)

    def pause(self) -> None:
        """End the thread, unless it is in the middle of a long request."""
        with self._lock:
            thread, self._is_paused = self._thread, True
        if thread is not None:
            self._abandoned.put(None)
            thread.join(_PAUSE_SECONDS)

    def resume(self) -> None:
        """Start the thread again after a pause."""
        self._is_paused = False
        if not self._is_idle:
            self._wake()

    def close_owned(self, deadline: float) -> None:
        """Close the instances that still have owners, until `deadline`."""
        if self._pid != os.getpid():
            return
        client = self._new_client(timeout=_EXIT_TIMEOUT_SECONDS, retries=0)
        while self._owned and time.monotonic() < deadline:
            instance_id = self._owned.popitem()[0]
            try:
                client.close_env(instance_id)
            except ConnectionError:
                return
            except Exception:  # noqa: BLE001, S112 -- it is closed already, or takes long; nobody can do anything now
                continue

    def _abandon(self, instance_id: str) -> None:
        # In a forked process the instance is its parent's.
        if self._pid == os.getpid() and instance_id in self._owned:
            self._leases.pop(instance_id, None)
            self._abandoned.put(instance_id)

    def _wake(self) -> None:
        with self._lock:
            if self._thread is None and not self._is_paused:
                thread = threading.Thread(target=self._run, name="gym-http-server leases", daemon=True)
                with contextlib.suppress(RuntimeError):  # the interpreter ends, or there are too many threads
                    thread.start()
                    self._thread = thread
            else:
                self._abandoned.put(None)

    @property
    def _is_idle(self) -> bool:
        return not self._leases and not self._owned

    def _run(self) -> None:
        if self._client is None:
            self._client = self._new_client(timeout=_TIMEOUT_SECONDS, retries=1)
        while True:
            interval = min(self._leases.copy().values(), default=LEASE_SECONDS) / _RENEWALS_PER_LEASE
            left = _LINGER_SECONDS if self._is_idle else self._renewed_at + interval - time.monotonic()
            abandoned = None
            try:
                abandoned = self._abandoned.get(timeout=max(left, 0.0))
            except queue.Empty:
                with self._lock:
                    if self._is_idle:
                        self._thread = None
                        return
            with self._lock:
                if self._is_paused:
                    self._thread = None
                    self._abandoned.put(abandoned)
                    return
            if abandoned is not None:
                with contextlib.suppress(Exception):
                    self._client.close_env(abandoned)
                self.forget(abandoned)
            # Also between many abandoned instances, whose closing may take long.
            if time.monotonic() - self._renewed_at >= interval:
                is_renewed = self._renew_all(self._client)
                self._renewed_at = time.monotonic() - (0.0 if is_renewed else interval * (1 - _RETRY_FRACTION))

    def _renew_all(self, client: Operations) -> bool:
        instance_ids = list(self._leases)
        try:
            for start in range(0, len(instance_ids), MAX_RENEWED_LEASES):
                for unknown in client.renew_leases(instance_ids[start : start + MAX_RENEWED_LEASES]):
                    self._leases.pop(unknown, None)
        except Exception:  # noqa: BLE001 -- the program's next call raises the error of a lost server
            now = time.monotonic()
            self._failing_since = self._failing_since or now
            for instance_id, lease in self._leases.copy().items():
                if now - self._failing_since > lease:
                    self._leases.pop(instance_id, None)  # it has run out
            return False
        self._failing_since = None
        return True


_keepers: dict[tuple[str, str | None], Keeper] = {}
_lock = threading.Lock()
_closes_as_worker = False


def keeper_of(url: str, api_key: str | None, new_client: Callable[..., Operations]) -> Keeper:
    """Return the keeper of this process for a server, made at the first call."""
    with _lock:
        keeper = _keepers.get((url, api_key))
        if keeper is None:
            keeper = _keepers[url, api_key] = Keeper(new_client)
        return keeper


def _close_at_the_end_of_a_worker() -> None:
    """Close what is left also where a process of `multiprocessing` ends, which runs no functions of `atexit`."""
    global _closes_as_worker
    process: Any = sys.modules.get("multiprocessing.process")
    if not _closes_as_worker and process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        _closes_as_worker = True
        Finalize(None, _close_all, exitpriority=0)


def _close_all() -> None:
    deadline = time.monotonic() + _EXIT_SECONDS
    for keeper in list(_keepers.values()):
        keeper.close_owned(deadline)


def _before_fork() -> None:
    for keeper in list(_keepers.values()):
        keeper.pause()


def _after_fork_in_parent() -> None:
    for keeper in list(_keepers.values()):
        keeper.resume()


def _after_fork_in_child() -> None:
    global _closes_as_worker, _lock
    _closes_as_worker = False
    _lock = threading.Lock()
    _keepers.clear()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
