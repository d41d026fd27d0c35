"""`RemoteEnv`: an environment on a server, as an environment of Gymnasium."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import seeding

from ..runtime.values.outcomes import PARTS
from .client import Client
from .http.body import msgpack_value
from .http.transport import MSGPACK
from .registration import ENV_ID
from .remote_instance import RemoteInstance, key_for
from .values import own
from .window import Window

if TYPE_CHECKING:
    import numpy as np

_DEFAULT_FPS = 30
_OUTCOME = ("observation", "reward", "terminated", "truncated", "info")
_SEVERAL = frozenset(PARTS.values())


class RemoteEnv(RemoteInstance, gymnasium.Env[Any, Any]):
    """An environment on a server.

    Spaces, observations, rewards, infos and metadata are those of the environment itself (with `wrappers`, of the wrapped
    environment), with their types, shapes and dtypes, as far as JSON can carry them. With `autoreset`,
    `metadata["autoreset_mode"]` says that the step after the end of an episode starts the next one. The server checks
    actions. Each environment has its own connection, which a thread opens with its first call.

    A copy or an unpickled environment is a new instance with the same arguments, which needs a reset. An instance is
    closed on the server when its object is garbage collected, at the end of the process, or within 5 minutes after the
    process was killed (its `lease`). A forked process may use its parent's, and closes it only by `close`.

    Args:
        url: the server's address.
        env_id: the environment to make, such as `CartPole-v1`.
        render_mode: by default `rgb_array`, where the environment has it. `human` shows each frame in a window of this
            machine, by pygame, and is `rgb_array` on the server.
        api_key: as for `Client`; by default that of the variable GYM_HTTP_SERVER_API_KEY.
        timeout: seconds to wait for an answer; None waits for ever.
        packed: speak MessagePack.
        frames: each step brings its frame, so that `render` after it needs no request; needs `packed`.
        **create: further arguments of `Client.create_env`: `seed`, `kwargs`, `max_episode_steps`, `library`, `interpreter`,
            `call_timeout`, `wrappers`, `autoreset`, `name`, `labels`, `lease`.

    Raises:
        ServerProblem: the server refuses to make it, reports an error of the environment, or lost it. A lost environment
            (410) cannot be called any more: close it and make another.
        ServerConnectionError: the server cannot be reached, or disconnected.
        TimeoutError: no answer came in time.
        ValueError: the server answered with an unknown kind of space, or `frames` is used without `packed`.
        gymnasium.error.DependencyNotInstalled, RuntimeError: `human` needs pygame and a display.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "ansi"], "render_fps": _DEFAULT_FPS}  # noqa: RUF012 -- as Gymnasium declares it

    def __init__(
        self,
        url: str,
        env_id: str,
        *,
        render_mode: str | None = None,
        api_key: str | None = None,
        timeout: float | None = 300.0,
        packed: bool = True,
        frames: bool = False,
        **create: Any,
    ) -> None:
        if frames and not packed:
            raise ValueError("frames come with steps in MessagePack alone: leave packed=False or frames=True out")
        self._window = Window(f"{env_id} on {url}") if render_mode == "human" else None
        self._has_frames = frames or (self._window is not None and packed)
        self._frame: Any = None
        server_mode = render_mode if self._window is None else "rgb_array"
        client = Client(url, key_for(api_key), timeout, packed=packed)
        description = self._create(client, env_id, {"render_mode": server_mode, **create})
        self.render_mode = description["render_mode"] if self._window is None else "human"
        if description["autoreset_mode"] is not None:
            # Gymnasium would count the steps of all episodes together, because nobody calls `reset` between them.
            self._specification = {**self._specification, "max_episode_steps": None}
        [seed] = description["np_random_seeds"] or [None]
        self._np_random_seed = -1 if seed is None else int(seed)
        self._first_seed: int | None = create.get("seed")
        arguments = {"url": url, "env_id": env_id, "render_mode": render_mode, "timeout": timeout, "packed": packed}
        if frames:
            arguments["frames"] = frames
        self.spec = EnvSpec(
            ENV_ID, f"{__name__}:{type(self).__qualname__}", kwargs={**arguments, **create}, disable_env_checker=True
        )

    def _create_spaces(self, description: dict[str, Any]) -> None:
        self.action_space = self._space("action", description)
        self.observation_space = self._space("observation", description)

    @property
    def np_random(self) -> np.random.Generator:
        """A generator with the seed of the environment's own, which does not move when this one is used."""
        if self._np_random is None and self._np_random_seed is not None and self._np_random_seed >= 0:
            self._np_random, self._np_random_seed = seeding.np_random(self._np_random_seed)
        return super().np_random

    @np_random.setter
    def np_random(self, value: np.random.Generator) -> None:
        self._np_random, self._np_random_seed = value, -1

    def __str__(self) -> str:
        return f"<{type(self).__name__} {self._client.url} {self._instance_id or 'closed'}>"

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; return its first observation and info."""
        super().reset(seed=self._first_seed if seed is None else seed)
        self._first_seed = None
        self._frame = None
        reply = self._client.reset_env(self.instance_id, seed, options, types=True)
        self._show()
        self._follow_spaces(reply)
        values = self._read(reply["observation"]), own(reply["info"])
        return self._retyped(reply, ("observation", "info"), values)

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one action; return observation, reward, terminated, truncated and info.

        A reward of several components, and ends by agent, are what the environment returns: an array, a tuple or a dict.
        """
        instance_id = self._instance_id or self.instance_id
        reply = self._client.step_env(instance_id, self._write(action), self._has_frames, types=True)
        if self._has_frames:
            self._frame = reply.get("frame")
        if self._window is not None:
            self._show(reply.get("frame_error"))
        if "action_space" in reply:
            self._follow_spaces(reply)
        reward, info = reply["reward"], reply["info"]
        names: tuple[str, ...] = _OUTCOME
        values: tuple[Any, ...] = (
            self._read(reply["observation"]),
            float("nan") if reward is None else reward,
            reply["terminated"],
            reply["truncated"],
            own(info) if info else info,
        )
        if reward is None or "terminations" in reply or "truncations" in reply:
            names = tuple(PARTS[name] if PARTS.get(name) in reply else name for name in names)
            values = tuple(map(lambda name, value: own(reply[name]) if name in _SEVERAL else value, names, values))
        return values if "types" not in reply else self._retyped(reply, names, values)

    def _show(self, frame_error: str | None = None) -> None:
        if self._window is None:
            return
        if frame_error is not None:
            gymnasium.logger.warn(f"the window shows no frame of this step: {frame_error}")
            return
        self._window.show(self._current_frame(), self.metadata.get("render_fps") or _DEFAULT_FPS)

    def _current_frame(self) -> Any:
        if self._frame is None:
            return msgpack_value(self._client.render_env(self.instance_id, MSGPACK))["frame"]
        return self._frame

    def render(self) -> Any:
        """Return the current frame.

        Returns:
            An array of shape (height, width, 3), or as the environment returns it; a text for `ansi`; None for `human`,
            whose window shows each frame already; a list of one frame for the modes of lists.

        Raises:
            ServerProblem: 409, the render mode gives no frames.
        """
        mode = self.render_mode or ""
        if mode == "human":
            return None
        frame = self._current_frame()
        if not isinstance(frame, str):
            frame = frame.copy()  # it is a read-only view of the reply
        return [frame] if mode.endswith("_list") else frame

    def restore(self, snapshot_id: str) -> Any:
        """Go back to a snapshot, any number of times; return the observation of that moment."""
        self._frame = None
        observation = super().restore(snapshot_id)
        self._show()
        return observation

    def transitions(self) -> dict[str, Any]:
        """Return the tabular model of a toy text environment such as FrozenLake, as `Client.get_transitions` does.

        Raises:
            ServerProblem: 409, the environment has no such model.
        """
        return self._client.get_transitions(self.instance_id)

    def close(self) -> None:
        """Close the environment and forget it on the server; closing it again, or without a server, does nothing."""
        instance_id, self._instance_id = self._instance_id, None
        if self._window is not None:
            self._window.close()
        if instance_id is not None:
            self._forget(instance_id)
