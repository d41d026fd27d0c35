"""`RemoteEnv`: an environment on a server, as an environment of Gymnasium."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import seeding

from ..runtime.values.spaces import rebuild
from ..runtime.values.value_types import Retyper
from .client import Client
from .copies import Remade
from .http.body import msgpack_value
from .http.problem import ServerProblem
from .http.transport import MSGPACK
from .registration import ENV_ID
from .specification import completed, key_for, metadata_of
from .values import action_writer, observation_reader, own
from .window import Window

if TYPE_CHECKING:
    from types import EllipsisType

    import numpy as np

UNKNOWN = 400
_OUTCOME = ("observation", "reward", "terminated", "truncated", "info")


class RemoteEnv(Remade, gymnasium.Env[Any, Any]):
    """An environment on a server.

    Spaces, observations, rewards, infos and metadata are those of the environment itself, with its types, shapes and dtypes, as
    far as they have a form in JSON. With `wrappers` all of them are the wrapped environment's; with `autoreset`
    `metadata["autoreset_mode"]` says that the step after an episode's end starts the next one. Actions are judged by the
    server. Each environment has a connection of its own, which a thread opens with its first call.

    A copy, or what is unpickled, is another instance by the same arguments, which is to be reset. One that nothing refers to any
    more, or that is left at the end of the process, is closed on the server; so is one whose process was killed, within 5
    minutes (its `lease`). A forked process may use its parent's, and closes it only where it says `close`.

    Args:
        url: where the server is.
        env_id: the environment to make, such as `CartPole-v1`.
        render_mode: `rgb_array` where the environment has it, unless given. `human` shows each frame in a window of this
            machine, by pygame, and is `rgb_array` on the server.
        api_key: as for `Client`; that of the variable GYM_HTTP_SERVER_API_KEY, unless given.
        timeout: seconds to wait for an answer; None waits for ever.
        packed: speak MessagePack.
        frames: have each step bring its frame along, so that `render` after it needs no request; needs `packed`.
        **create: further arguments of `Client.create_env`: `seed`, `kwargs`, `max_episode_steps`, `library`,
            `call_timeout`, `wrappers`, `autoreset`, `name`, `labels`, `lease`.

    Raises:
        ServerProblem: the server refuses to make it, says what the environment did wrong, or lost it. A lost one (410)
            cannot be called any more: close it and make another.
        ServerConnectionError: the server cannot be reached, or went away.
        TimeoutError: no answer came in time.
        ValueError: the server answered a space that is not known here, or `frames` is asked for without `packed`.
        gymnasium.error.DependencyNotInstalled, RuntimeError: `human` needs pygame and a display.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "rgb_array", "ansi"], "render_fps": 30}  # noqa: RUF012 -- as Gymnasium declares it

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
        self._instance_id: str | None = None
        self._window = Window(f"{env_id} on {url}") if render_mode == "human" else None
        self._frames = frames or (self._window is not None and packed)
        self._frame: Any = None
        self._client = Client(url, key_for(api_key), timeout, packed=packed)
        try:
            server_mode = render_mode if self._window is None else "rgb_array"
            self._instance_id = self._client.create_env(env_id, render_mode=server_mode, **create)["instance_id"]
            self._client.keeper.own(self, self._instance_id)
            described = self._client.get_env(self._instance_id)
            self.action_space = rebuild(described["action_space"])
            self.observation_space = rebuild(described["observation_space"])
            self._write = action_writer(self.action_space)
            self._read = observation_reader(self.observation_space)
        except BaseException:
            self.close()
            raise
        self.render_mode = described["render_mode"] if self._window is None else "human"
        self.metadata = metadata_of(described)
        self._specification = described["specification"]
        if described["autoreset_mode"] is not None:
            # Gymnasium would count the steps of all episodes together, for nobody calls `reset` between them.
            self._specification = {**self._specification, "max_episode_steps": None}
        [seed] = described["np_random_seeds"] or [None]
        self._np_random_seed = -1 if seed is None else int(seed)
        self._first_seed: int | None = create.get("seed")
        self._types: dict[str, str] = {}
        self._retype = Retyper({})
        given = {"url": url, "env_id": env_id, "render_mode": render_mode, "timeout": timeout, "packed": packed}
        if frames:
            given["frames"] = frames
        self.spec = EnvSpec(
            ENV_ID, f"{__name__}:{type(self).__qualname__}", kwargs={**given, **create}, disable_env_checker=True
        )

    @property
    def spec(self) -> EnvSpec | None:
        """What makes the same environment again, with the API key of the variable: a spec has none."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = completed(spec, self._specification)

    @property
    def np_random(self) -> np.random.Generator:
        """A generator seeded as that of the environment itself, which does not move when this one is used."""
        if self._np_random is None and self._np_random_seed is not None and self._np_random_seed >= 0:
            self._np_random, self._np_random_seed = seeding.np_random(self._np_random_seed)
        return super().np_random

    @np_random.setter
    def np_random(self, value: np.random.Generator) -> None:
        self._np_random, self._np_random_seed = value, -1

    def __str__(self) -> str:
        return f"<{type(self).__name__} {self._client.url} {self._instance_id or 'closed'}>"

    @property
    def instance_id(self) -> str:
        """The instance on the server.

        Raises:
            RuntimeError: it is closed.
        """
        if self._instance_id is None:
            raise RuntimeError("the environment is closed: make another one")
        return self._instance_id

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; return its first observation and info."""
        super().reset(seed=self._first_seed if seed is None else seed)
        self._first_seed = None
        self._frame = None
        reply = self._client.reset_env(self.instance_id, seed, options, types=True)
        self._show()
        observation, info = self._read(reply["observation"]), own(reply["info"])
        if "types" not in reply:
            return observation, info
        retype = self._retyper(reply["types"])
        return retype("observation", reply["observation"], observation), retype("info", reply["info"], info)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one action; return observation, reward, terminated, truncated and info."""
        reply = self._client.step_env(self.instance_id, self._write(action), self._frames, types=True)
        if self._frames:
            self._frame = reply.get("frame")
        self._show(reply.get("frame_error"))
        reward, info = reply["reward"], reply["info"]
        taken = (
            self._read(reply["observation"]),
            float("nan") if reward is None else reward,
            reply["terminated"],
            reply["truncated"],
            own(info) if info else info,
        )
        if "types" not in reply:
            return taken
        retype = self._retyper(reply["types"])
        return tuple(retype(name, reply[name], value) for name, value in zip(_OUTCOME, taken, strict=True))

    def _retyper(self, types: dict[str, str]) -> Retyper:
        # Nearly always those of the step before.
        if types != self._types:
            self._types, self._retype = types, Retyper(types)
        return self._retype

    def _show(self, frame_error: str | None = None) -> None:
        if self._window is None:
            return
        if frame_error is not None:
            gymnasium.logger.warn(f"the window shows no frame of this step: {frame_error}")
            return
        self._window.show(self._current_frame(), self.metadata.get("render_fps") or 30)

    def _current_frame(self) -> Any:
        if self._frame is None:
            return msgpack_value(self._client.render_env(self.instance_id, MSGPACK))["frame"]
        return self._frame

    def render(self) -> Any:
        """Return the current frame.

        Returns:
            For `ansi` a text; for `human` None, for the window shows each frame already; for any other render mode an
            array of shape (height, width, 3), or what the environment has; in a list where the mode is one of
            lists.

        Raises:
            ServerProblem: 409, the environment was made without a render mode that gives a frame.
        """
        mode = self.render_mode or ""
        if mode == "human":
            return None
        frame = self._current_frame()
        if not isinstance(frame, str):
            frame = frame.copy()  # what came is a read-only view of the reply
        return [frame] if mode.endswith("_list") else frame

    def snapshot(self) -> str:
        """Save the state on the server, its random generators included; return the id of the snapshot.

        Raises:
            ServerProblem: 409, the environment has not been reset yet or cannot be copied; 429, there are as many snapshots
                as the server allows.
        """
        return self._client.create_snapshot(self.instance_id)

    def restore(self, snapshot_id: str) -> Any:
        """Go back to a snapshot, as often as wanted; return the observation of that moment.

        The same actions then lead to the same observations and rewards, to the bit. It does not change this object's own
        `np_random`, which is no part of the environment on the server.

        Raises:
            ServerProblem: 404, there is no such snapshot.
        """
        self._frame = None
        observation = self._read(self._client.restore_snapshot(self.instance_id, snapshot_id))
        self._show()
        return observation

    def transitions(self) -> dict[str, Any]:
        """Return the tabular model of an environment of toy text, such as FrozenLake: what `Client.get_transitions` does.

        Raises:
            ServerProblem: 409, the environment has none.
        """
        return self._client.get_transitions(self.instance_id)

    def update(
        self,
        *,
        name: str | EllipsisType | None = ...,
        labels: dict[str, str | None] | EllipsisType | None = ...,
    ) -> dict[str, Any]:
        """Change what people call the environment; return its description, with its `name` and `labels`.

        Args:
            name: on one line; None takes it away, and without this argument it stays.
            labels: texts to set by their names, and None for those to take away; None takes all away.

        Raises:
            ServerProblem: 400, the server takes no such name or label.
        """
        return self._client.update_env(self.instance_id, name=name, labels=labels)

    def close(self) -> None:
        """Close the environment and forget it on the server; closing it again, or without a server, does nothing."""
        instance_id, self._instance_id = self._instance_id, None
        if self._window is not None:
            self._window.close()
        if instance_id is not None:
            forget(self._client, instance_id)


def forget(client: Client, instance_id: str) -> None:
    """Close an instance and the client, whatever has become of the server."""
    try:
        with contextlib.suppress(ConnectionError):
            client.close_env(instance_id)
    except ServerProblem as problem:
        if problem.status != UNKNOWN:
            raise
    finally:
        client.close()
