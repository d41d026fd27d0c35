"""Idempotency keys and reply caches: a request that is repeated with its key is not executed again.

Format of the key: draft-ietf-httpapi-idempotency-key-header; its text is compared verbatim.
"""

from __future__ import annotations

import asyncio
import collections
import hashlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar, cast

from ..errors import (
    GymHttpServerError,
    HoldEndedError,
    InstanceHeldError,
    KeyReusedError,
    OutOfResourcesError,
    TooManyInstancesError,
    TooManyLanesError,
)
from .messages import MSGPACK, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

ONCE: Final = "once"
"""Name of the argument of a call that holds its `IdempotencyKey`."""

MAX_REPLIES: Final = 64
MAX_REPLY_BYTES: Final = 16 << 20
"""Maximum number and total size of the replies kept for one environment; the latest is always kept."""

MAX_PLAIN_BYTES: Final = 64
"""Maximum bytes of an operation and a body that are kept as they are: those of most steps need no hash."""

MAX_SHARED_REPLIES: Final = 4096
"""Maximum number of replies kept of operations that make and close environments."""

_NOT_BEGUN: Final = (
    HoldEndedError,
    InstanceHeldError,
    OutOfResourcesError,
    TooManyInstancesError,
    TooManyLanesError,
)
"""Errors before anything was done; a repeated request is executed."""


class IdempotencyKey(NamedTuple):
    """Identity of a keyed request.

    Attributes:
        key: the client's key.
        digest: the operation and the body, hashed unless they are short.
    """

    key: str
    digest: bytes

    @classmethod
    def of(cls, key: str, operation_id: str, body: bytes) -> IdempotencyKey:
        """Return the identity of a request whose arguments are all in its body."""
        text = b"%b\n%b" % (operation_id.encode(), body)
        return cls(key, text if len(text) <= MAX_PLAIN_BYTES else hashlib.blake2b(text, digest_size=16).digest())


class ReplyCache:
    """Replies to the latest keyed calls of one environment, which runs one call at a time."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[bytes, Reply | _Refusal, int]] = {}
        self._bytes = 0

    def of(self, key: tuple[str, bytes], call: Callable[[], Reply]) -> Reply:
        """Return the reply of the first `call` with this key; a `GymHttpServerError` that it raised is raised again.

        A call that was refused before anything was done is made again.

        Raises:
            KeyReusedError: the key is that of another request.
        """
        name, digest = key
        kept = self._kept.get(name)
        if kept is None:
            try:
                reply = call()
            except GymHttpServerError as error:
                if not isinstance(error, _NOT_BEGUN):
                    self._keep(name, digest, _Refusal(error.to_wire()), 0)
                raise
            body, media_type, headers = reply
            # MessagePack is made to its size.
            compacted = reply if media_type == MSGPACK else Reply(compact(body), media_type, headers)
            self._keep(name, digest, compacted, len(body))
            return reply
        first_digest, outcome, _ = kept
        if first_digest != digest:
            raise KeyReusedError.of(name)
        if isinstance(outcome, _Refusal):
            raise GymHttpServerError.from_wire(outcome.error)
        return outcome

    def _keep(self, name: str, digest: bytes, outcome: Reply | _Refusal, size: int) -> None:
        kept = self._kept
        kept[name] = digest, outcome, size
        self._bytes += size
        while len(kept) > MAX_REPLIES or (self._bytes > MAX_REPLY_BYTES and len(kept) > 1):
            self._bytes -= kept.pop(next(iter(kept)))[2]


def compact(body: bytes) -> bytes:
    """Return a copy without spare memory: orjson allocates 4 kB or more for each text."""
    return bytes(memoryview(body))


class SharedReplyCache:
    """Replies to keyed operations that may run concurrently; a repeated request shares the reply of the first."""

    def __init__(self) -> None:
        self._kept: collections.OrderedDict[tuple[str, str], tuple[bytes, asyncio.Task[Any] | _Outcome]] = (
            collections.OrderedDict()
        )

    def has(self, scope: str, key: IdempotencyKey) -> bool:
        """Return whether a request had this key."""
        return (scope, key.key) in self._kept

    async def of(self, scope: str, key: IdempotencyKey, run: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return or raise the result of the first `run` with this key; it continues when a client disconnects.

        Args:
            scope: the namespace of the key, such as an instance_id.
            key: identity of the request.
            run: executes the request.

        Raises:
            KeyReusedError: the key is that of another request.
        """
        place = scope, key.key
        if place in self._kept:
            digest, held = self._kept[place]
            if digest != key.digest:
                raise KeyReusedError.of(key.key)
        else:
            held = asyncio.get_running_loop().create_task(self._execute(place, key, run))
            self._kept[place] = key.digest, held
            if len(self._kept) > MAX_SHARED_REPLIES:
                self._kept.popitem(last=False)
        outcome = held if isinstance(held, _Outcome) else await asyncio.shield(held)
        if isinstance(outcome.value, _Refusal):
            raise GymHttpServerError.from_wire(outcome.value.error)
        return cast("T", outcome.value)

    async def _execute(
        self, place: tuple[str, str], key: IdempotencyKey, run: Callable[[], Coroutine[Any, Any, T]]
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
            # Replaces the task, whose context holds the whole request: 12 kB each.
            self._kept[place] = key.digest, outcome
        return outcome


class _Outcome(NamedTuple):
    """The result of an operation, or its `_Refusal`."""

    value: Any


class _Refusal(NamedTuple):
    """An error in its plain form: the exception would keep the frames of its traceback alive."""

    error: dict[str, Any]
