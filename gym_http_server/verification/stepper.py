"""`EnvironmentMaker` and `ServedStepper`: the recorded environment, made again and stepped from a thread beside the event loop.

It is made by the server's engine, with its isolation, memory limit and time limit of a call. It is no instance: no client can
call it, no list has it, and it does not count as one of `max_envs`; at most a few exist at a time. What a recording says of its
environment comes from a client or from whoever writes to the upload target, so it is checked like a client's request.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Any

from ..errors import NoTrajectoriesError
from ..results.kwargs import KwargsGuard
from ..results.roots import Roots
from ..runtime.messages import MSGPACK, CreateRequest
from ..runtime.values.outcomes import PARTS
from ..runtime.values.packing import unpack

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from typing import TypeVar

    from ..config import Settings
    from ..engines.base import Engine, Worker
    from ..interpreters.interpreters import Interpreters
    from ..runtime.messages import Description

    T = TypeVar("T")

logger = logging.getLogger(__name__)


class EnvironmentMaker:
    """Makes recorded environments again.

    Args:
        settings: the server's settings.
        engine: the engine that makes them.
        interpreters: the interpreters besides the server's own Python.
        loop: the event loop of the engine.
    """

    def __init__(
        self, settings: Settings, engine: Engine, interpreters: Interpreters, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._interpreters = interpreters
        self._loop = loop
        self._guard = KwargsGuard(Roots(settings.results_root), settings.imports)

    def make(self, env_id: str, library: str, made: Mapping[str, Any]) -> ServedStepper:
        """Make an environment, or that of one lane of a batch; not on the event loop.

        Args:
            env_id: its id.
            library: library and version.
            made: how it was made, see `environment_of`.

        Raises:
            GymHttpServerError: it is refused, or cannot be made.
        """
        kwargs, wrappers = made["kwargs"] or {}, made["wrappers"] or []
        if not all(isinstance(each, dict) and each.keys() >= {"name", "kwargs"} for each in wrappers):
            raise NoTrajectoriesError("the wrappers of the environment are not described as a monitor does")
        self._guard.check(kwargs)
        for wrapper in wrappers:
            self._guard.check(wrapper["kwargs"], f"the kwargs of {wrapper['name']}")
        interpreter = made["interpreter"]
        library = library.partition(" ")[0]
        settings = self._settings
        request = CreateRequest(
            env_id=env_id,
            kwargs=kwargs,
            max_episode_steps=made["max_episode_steps"],
            render_mode=made["render_mode"] if made["render_mode"] != "human" else None,
            library=library if library in ("gym", "gymnasium") else "auto",
            # Not a successor of a retired id, which is another environment.
            strict_env_ids=True,
            imports=settings.imports,
            wrappers=wrappers,
            call_timeout=settings.call_timeout,
            interpreter=None if interpreter is None else self._interpreters.named(interpreter),
            # The recorded actions were accepted, and the environment was given what they are.
            action_check="library",
        )
        instance_id = secrets.token_hex(4)
        worker = self._wait(self._engine.create(instance_id, request, settings.call_timeout))
        logger.info("%s is made to replay what is recorded of it", env_id)
        return ServedStepper(worker, self._guard, self._wait)

    def _wait(self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()


class ServedStepper:
    """An environment of the engine as the replay steps it: with values of the types that the environment returns.

    Args:
        worker: the environment.
        guard: checks options of resets.
        wait: runs a coroutine on the event loop and returns its result.
    """

    def __init__(self, worker: Worker, guard: KwargsGuard, wait: Any) -> None:
        self._worker = worker
        self._guard = guard
        self._wait = wait
        self._types: dict[str, str] | None = None
        self._compile(worker.description.action_space, worker.description.observation_space)

    @property
    def description(self) -> Description:
        """What the environment is."""
        return self._worker.description

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Start an episode; return its first observation and info.

        Raises:
            GymHttpServerError: the environment refuses, raises, or is lost.
        """
        if options:
            self._guard.check(options, "options")
        wide = None if seed is None else seed if seed < 1 << 63 else str(seed)
        reply = self._call("reset", {"seed": wide, "options": options, "types": True, "media_type": MSGPACK})
        if "action_space" in reply:
            self._compile(reply["action_space"], reply["observation_space"])
        observation, info = self._retyped(
            reply, {"observation": self._read(reply["observation"]), "info": reply["info"]}
        )
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Take one action; return observation, reward, terminated, truncated and info.

        Raises:
            GymHttpServerError: as `reset`.
        """
        arguments = {"action": self._write(action), "types": True, "media_type": MSGPACK}
        reply = self._call("step", arguments)
        values = {"observation": self._read(reply["observation"])}
        for single, several in PARTS.items():
            name = several if several in reply else single
            values[name] = reply[name]
        observation, reward, terminated, truncated, info = self._retyped(reply, {**values, "info": reply["info"]})
        return observation, reward, terminated, truncated, info

    def render(self) -> tuple[bytes, str]:
        """Return the current frame as an image or text, and its media type.

        Raises:
            GymHttpServerError: there is none.
        """
        reply = self._wait(self._worker.call("render", {"media_types": ["image/png", "text/plain"]}))
        return reply.body, reply.media_type

    def close(self) -> None:
        """Close the environment."""
        self._wait(self._worker.close())

    def _call(self, operation: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        reply: dict[str, Any] = unpack(self._wait(self._worker.call(operation, arguments)).body)
        return reply

    def _compile(self, action_space: Mapping[str, Any], observation_space: Mapping[str, Any]) -> None:
        # Not at the top: a server of the process engine seldom needs Gymnasium.
        from ..runtime.values.codec import decoder, encoder
        from ..runtime.values.spaces import rebuild

        decode = decoder(rebuild(observation_space))
        self._write = encoder(rebuild(action_space))

        def read(value: Any) -> Any:
            try:
                return decode(value)
            except ValueError:
                return value  # an environment may return what is not in its own space

        self._read = read

    def _retyped(self, reply: dict[str, Any], values: dict[str, Any]) -> list[Any]:
        if "types" not in reply:
            return list(values.values())
        from ..runtime.values.value_types import Retyper

        # Most replies have the types of the reply before.
        if reply["types"] != self._types:
            self._types = reply["types"]
            self._retype = Retyper(reply["types"])
        return [self._retype(name, reply[name], value) for name, value in values.items()]
