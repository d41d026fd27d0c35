"""Sessions of clients of other protocols: a session owns its instances, and closes them when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any

from ..errors import TooManyInstancesError, UnknownInstanceError
from ..instances.idle import check_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..runtime.messages import Reply
    from .operations import InProcessOperations

logger = logging.getLogger(__name__)


def labels_of(protocol: str, session_id: str) -> dict[str, str]:
    """Return the labels of a session's instances; the beginning of its id tells sessions apart and opens none."""
    return {"protocol": protocol, "session": session_id[:8]} if protocol else {}


class AgentSession:
    """What one client owns.

    Args:
        operations: executes operations.
        client: the address of the client; None if it is not known.
        on_end: called once when the session ends, before its instances are closed.
        protocol: what the client speaks.

    Attributes:
        session_id: a UUID, which nobody can guess; on a shard it begins with the prefix of that, as ids of instances do.
        client: the address of the client.
        labels: labels of its instances, which say whose they are.
        instance_ids: its live instances, the oldest first.
        why_ended: why it has ended; None while it lives.
    """

    def __init__(
        self,
        operations: InProcessOperations,
        client: str | None,
        on_end: Callable[[AgentSession], None] = lambda _: None,
        protocol: str = "",
    ) -> None:
        shard = operations.instances.shard
        self.session_id = shard + str(uuid.uuid4())[len(shard) :]
        self.client = client
        self.labels = labels_of(protocol, self.session_id)
        self.instance_ids: list[str] = []
        self.why_ended: str | None = None
        self._operations = operations
        self._on_end = on_end
        self._used_at = time.monotonic()
        self._under_way = 0
        self._creations: set[asyncio.Task[dict[str, Any]]] = set()

    @property
    def idle_seconds(self) -> float:
        """Seconds since its last call ended; 0 while one is in execution."""
        return 0.0 if self._under_way else time.monotonic() - self._used_at

    def touch(self, moment: float | None = None) -> None:
        """Note that the client uses the session without a call, or has used it, at a moment of the monotonic clock."""
        self._used_at = time.monotonic() if moment is None else moment

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Count the session as used until the end."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._used_at = time.monotonic()

    async def create(self, body: dict[str, Any]) -> dict[str, Any]:
        """Make an instance that the session owns.

        Args:
            body: the body of createEnv.

        Returns:
            The reply of createEnv.

        Raises:
            GymHttpServerError: as `InProcessOperations.call`; the session has ended meanwhile.
        """
        creation = asyncio.get_running_loop().create_task(self._create(body))
        self._creations.add(creation)
        creation.add_done_callback(self._creations.discard)
        # A creation whose caller is cancelled goes on: its instance has to be known, so that it is closed.
        return await asyncio.shield(creation)

    async def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        labels = {**self.labels, **body.get("labels", {})}
        made: dict[str, Any] = await self.call("createEnv", {**body, "labels": labels})
        self.instance_ids.append(made["instance_id"])
        if self.why_ended is not None:
            await self._close_instances()
            raise UnknownInstanceError(f"the session has ended while its environment was made: {self.why_ended}")
        return made

    async def call(self, operation_id: str, body: Any = None, **parameters: Any) -> Any:
        """Execute an operation as a use of the session; see `InProcessOperations.call`."""
        with self.in_use():
            return await self._operations.call(operation_id, body, client=self.client, **parameters)

    async def reply(self, operation_id: str, body: Any = None, *, received: int = 0, **parameters: Any) -> Reply:
        """The same, for the encoded reply to a request of `received` bytes."""
        self._under_way += 1
        try:
            return await self._operations.reply(operation_id, body, client=self.client, received=received, **parameters)
        finally:
            self._under_way -= 1
            self._used_at = time.monotonic()

    async def close(self, instance_id: str) -> None:
        """Close one of its instances.

        Raises:
            UnknownInstanceError: it is not live, or not of this session.
        """
        if instance_id not in self.instance_ids:
            raise UnknownInstanceError.of(instance_id)
        self.instance_ids.remove(instance_id)
        await self.call("closeEnv", instance_id=instance_id)

    async def end(self, why: str) -> None:
        """End the session and close its instances; idempotent. The reason is for the log."""
        if self.why_ended is None:
            self.why_ended = why
            self._on_end(self)
            await self._close_instances()

    async def _close_instances(self) -> None:
        instance_ids, self.instance_ids = self.instance_ids, []
        why = f"its session has ended: {self.why_ended}"
        closings = (self._operations.instances.close(each, why=why) for each in instance_ids)
        for instance_id, outcome in zip(
            instance_ids, await asyncio.gather(*closings, return_exceptions=True), strict=True
        ):
            # Somebody else may have closed it.
            if isinstance(outcome, Exception) and not isinstance(outcome, UnknownInstanceError):
                logger.error("closing the instance %s of a session failed", instance_id, exc_info=outcome)


class AgentSessions:
    """The live sessions of one protocol.

    Args:
        operations: executes operations.
        max_sessions: maximum number of sessions.
        idle_timeout: seconds after which a session without a call ends; 0 for never.
        setting: the option that sets it.
        on_end: called when a session ends, before its instances are closed.
        protocol: what their clients speak.
    """

    def __init__(
        self,
        operations: InProcessOperations,
        max_sessions: int,
        idle_timeout: float,
        setting: str = "--idle-timeout",
        on_end: Callable[[AgentSession], None] = lambda _: None,
        protocol: str = "",
    ) -> None:
        self.max_sessions = max_sessions
        self._operations = operations
        self._idle_timeout = idle_timeout
        self._setting = setting
        self._on_end = on_end
        self._protocol = protocol
        self._live: dict[str, AgentSession] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def has_room(self) -> bool:
        """Whether another session with an instance may begin."""
        return len(self._live) < self.max_sessions and self._operations.instances.has_room

    def open(self, client: str | None) -> AgentSession:
        """Begin a session.

        Raises:
            TooManyInstancesError: there are as many as there may be.
        """
        if len(self._live) >= self.max_sessions:
            limit = self.max_sessions
            raise TooManyInstancesError(
                f"there are {limit} sessions and the limit is {limit}: close some, or start the server with a larger --max-envs",
                limit=limit,
                setting="max_envs",
            )
        session = AgentSession(self._operations, client, self._forget, self._protocol)
        self._live[session.session_id] = session
        if self._idle_timeout and self._timer is None:
            self._await_idle()
        return session

    def find(self, session_id: str) -> AgentSession | None:
        """Return a live session; None if there is none with that id."""
        return self._live.get(session_id)

    def all(self) -> list[AgentSession]:
        """Return the live sessions, the oldest first."""
        return list(self._live.values())

    @property
    def empty(self) -> int:
        """Number of live sessions without an instance."""
        return sum(not session.instance_ids for session in self._live.values())

    def end_soon(self, session: AgentSession, why: str) -> None:
        """End a session without waiting for its instances to close."""
        ending = asyncio.get_running_loop().create_task(session.end(why))
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def stop(self) -> None:
        """End all sessions; their instances are left to the server, which closes all at its stop."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for session in self.all():
            session.instance_ids.clear()
            await session.end("the server stops")
        # Not cancelled: an environment whose close is cut short is neither open nor closed.
        await asyncio.gather(*self._endings, return_exceptions=True)

    def _forget(self, session: AgentSession) -> None:
        self._live.pop(session.session_id, None)
        self._on_end(session)

    def _await_idle(self) -> None:
        seconds = check_interval(self._idle_timeout)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._end_idle)

    def _end_idle(self) -> None:
        self._timer = None
        for session in self.all():
            if session.idle_seconds >= self._idle_timeout:
                self.end_soon(session, f"nobody has used it for {self._idle_timeout:g} s ({self._setting})")
        if self._live:
            self._await_idle()
