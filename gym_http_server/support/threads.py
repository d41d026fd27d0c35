"""Daemon threads for calls that may never return, such as on a hanging file system: callers time out, and no exit waits."""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(Executor):
    """A pool of daemon threads; at exit, the standard library's pool would join its threads.

    Args:
        count: maximum number of threads.
        name: prefix of their names.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call in a thread."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = call(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 -- passed to the caller
                future.set_exception(error)
            else:
                future.set_result(result)

        self._tasks.put(run)
        with self._lock:
            if not self._idle.acquire(blocking=False) and len(self._threads) < self._count:
                name = f"{self._name}_{len(self._threads)}"
                self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
                self._threads[-1].start()
        return future

    async def within(self, seconds: float, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a call in a thread, in the caller's context, and wait for its result.

        Raises:
            TimeoutError: it did not return within `seconds`; the thread is abandoned.
        """
        run: Callable[..., T] = contextvars.copy_context().run
        async with asyncio.timeout(seconds):
            return await asyncio.wrap_future(self.submit(run, call, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 -- the signature of executors
        """End the threads after their current calls, without waiting for them."""
        for _ in self._threads:
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            del task
            self._idle.release()
