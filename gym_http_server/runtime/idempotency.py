"""Idempotency keys and reply caches: a request that is sent again with its key is not executed again.

Format of the key: the header of draft-ietf-httpapi-idempotency-key-header, whose text is taken as it is.
"""

from __future__ import annotations

import asyncio
import collections
import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

from ..errors import GymHttpServerError, KeyReusedError, OutOfResourcesError, TooManyInstancesError, TooManyLanesError
from .messages import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

ONCE: Final = "once"
"""The name of the argument that is not the operation's."""

MOST_KEPT: Final = 64
MOST_BYTES: Final = 16 << 20
"""How many outcomes are kept beside an environment, and how large they may be together; the latest is kept always."""

MOST_SHARED: Final = 4096
"""How many outcomes are kept of operations that make and close environments."""

_NOT_BEGUN: Final = (OutOfResourcesError, TooManyInstancesError, TooManyLanesError)
"""Errors after which the same request may succeed, for nothing was done."""


class IdempotencyKey(NamedTuple):
    """Identity of a keyed request.

    Attributes:
        key: the client's key.
        digest: hash of the operation and the body.
    """

    key: str
    digest: bytes

    @classmethod
    def of(cls, key: str, operation_id: str, body: bytes) -> IdempotencyKey:
        """Return that of a request, whose operation has no further arguments."""
        digest = hashlib.blake2b(b"%b\n" % operation_id.encode(), digest_size=16)
        digest.update(body)
        return cls(key, digest.digest())


class ReplyCache:
    """Replies to the latest keyed calls of one environment, which runs one call at a time."""

    def __init__(self) -> None:
        self._kept: collections.OrderedDict[str, tuple[bytes, Reply | _Refusal]] = collections.OrderedDict()
        self._bytes = 0

    def of(self, once: IdempotencyKey, call: Callable[[], Reply]) -> Reply:
        """Return what `call` returned the first time; an error of ours that it raised is raised again.

        Raises:
            KeyReusedError: the key is that of another request.
        """
        kept = self._kept.get(once.key)
        if kept is None:
            try:
                reply = call()
            except GymHttpServerError as error:
                self._keep(once, _Refusal(error.to_wire()))
                raise
            self._keep(once, reply._replace(body=compact(reply.body)))
            return reply
        digest, outcome = kept
        if digest != once.digest:
            raise KeyReusedError.of(once.key)
        if isinstance(outcome, _Refusal):
            raise GymHttpServerError.from_wire(outcome.error)
        return outcome

    def _keep(self, once: IdempotencyKey, outcome: Reply | _Refusal) -> None:
        self._kept[once.key] = once.digest, outcome
        self._bytes += _size(outcome)
        while len(self._kept) > MOST_KEPT or (self._bytes > MOST_BYTES and len(self._kept) > 1):
            _, (_, oldest) = self._kept.popitem(last=False)
            self._bytes -= _size(oldest)


def compact(body: bytes) -> bytes:
    """Return the same bytes in as much memory as they need: orjson leaves each of its texts 4 kB or more."""
    return bytes(memoryview(body))


def _size(outcome: Reply | _Refusal) -> int:
    return len(outcome.body) if isinstance(outcome, Reply) else 0


class SharedReplyCache:
    """The outcomes of keyed operations that run at the same time; a repeated one shares that of the first."""

    def __init__(self) -> None:
        self._kept: collections.OrderedDict[tuple[str, str], tuple[bytes, asyncio.Task[Any] | _Outcome]] = (
            collections.OrderedDict()
        )

    async def of(self, scope: str, once: IdempotencyKey, run: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what `run` returned the first time, or raise what it raised; whoever goes away does not end it.

        Args:
            scope: what keys are told apart within, such as an instance.
            once: which request it is.
            run: executes it.

        Raises:
            KeyReusedError: the key is that of another request.
        """
        place = scope, once.key
        if place in self._kept:
            digest, held = self._kept[place]
            if digest != once.digest:
                raise KeyReusedError.of(once.key)
        else:
            held = asyncio.get_running_loop().create_task(self._execute(place, once, run))
            self._kept[place] = once.digest, held
            if len(self._kept) > MOST_SHARED:
                self._kept.popitem(last=False)
        outcome = held if isinstance(held, _Outcome) else await asyncio.shield(held)
        if isinstance(outcome.value, _Refusal):
            raise GymHttpServerError.from_wire(outcome.value.error)
        return cast("T", outcome.value)

    async def _execute(
        self, place: tuple[str, str], once: IdempotencyKey, run: Callable[[], Coroutine[Any, Any, T]]
    ) -> _Outcome:
        try:
            outcome = _Outcome(await run())
        except GymHttpServerError as error:
            outcome = _Outcome(_Refusal(error.to_wire()))
            if isinstance(error, _NOT_BEGUN):
                self._kept.pop(place, None)
        except BaseException:
            self._kept.pop(place, None)
            raise
        if place in self._kept:
            # In the task's stead, whose context holds the whole request: 12 kB each.
            self._kept[place] = once.digest, outcome
        return outcome


class _Outcome(NamedTuple):
    """What an operation returned, or how it was refused."""

    value: Any


class _Refusal(NamedTuple):
    """An error in its plain form, because it would hold all that lived where it was raised."""

    error: dict[str, Any]
