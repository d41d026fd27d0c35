"""Threads for waits that may have no end, as on a file system that hangs: who asked is told in time, and no exit waits for them."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import queue
import threading
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


class DaemonThreads(Executor):
    """A pool of threads that end with the interpreter, whatever they wait for; those of the standard library are joined.

    Args:
        count: how many threads there are at most.
        name: what they are called.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._tasks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a thread make a call."""
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = call(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 -- whoever asked is told
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
        """Have a thread make a call, in the caller's context, and wait for it for some time.

        Raises:
            TimeoutError: it was not over by then; the thread is left to itself.
        """
        context = contextvars.copy_context()
        made: Callable[[], Any] = functools.partial(context.run, functools.partial(call, *args, **kwargs))
        async with asyncio.timeout(seconds):
            result: T = await asyncio.wrap_future(self.submit(made))
            return result

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 -- the signature of executors
        """End the threads when they have done what was asked, without waiting for them."""
        for _ in self._threads:
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
            del task
            self._idle.release()
