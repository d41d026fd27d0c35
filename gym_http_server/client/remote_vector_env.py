"""`RemoteVectorEnv`: a batch of environments on a server, as a vector environment of Gymnasium."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ..runtime.spaces import rebuild
from .client import Client
from .registration import ENV_ID
from .remote_env import FPS, forget
from .secret import guarded
from .values import action_writer, observation_reader, own

if TYPE_CHECKING:
    from types import EllipsisType


class RemoteVectorEnv(VectorEnv[Any, Any, Any]):
    """A batch of environments that step together on a server, with one request a step for all of them.

    Spaces, observations and infos are those of Gymnasium's own vector environments, whose lanes may have `wrappers`.
    `metadata["autoreset_mode"]` says what happens to a lane whose episode has ended.

    Args:
        url: where the server is.
        env_id: the environment to make, such as `CartPole-v1`.
        num_envs: how many.
        render_mode: `rgb_array` where the environment has it, unless given.
        api_key: as for `Client`.
        timeout: seconds to wait for an answer; None waits for ever.
        packed: speak MessagePack.
        **create: further arguments of `Client.create_env`: `seed`, `kwargs`, `max_episode_steps`, `library`,
            `call_timeout`, `vectorization_mode`, `autoreset_mode`, `wrappers`, `name`, `labels`.

    Raises:
        ServerProblem: the server refuses to make it, says what an environment did wrong, or lost it. A lost one (410)
            cannot be called any more: close it and make another.
        ConnectionError: the server cannot be reached, or went away.
        TimeoutError: no answer came in time.
        ValueError: the server answered a space that is not known here.
    """

    def __init__(
        self,
        url: str,
        env_id: str,
        num_envs: int,
        *,
        render_mode: str | None = None,
        api_key: str | None = None,
        timeout: float | None = 300.0,
        packed: bool = True,
        **create: Any,
    ) -> None:
        self.closed = True
        self._client = Client(url, api_key, timeout, packed=packed)
        made = self._client.create_env(env_id, num_envs=num_envs, render_mode=render_mode, **create)
        self.instance_id: str = made["instance_id"]
        self.closed = False
        try:
            described = self._client.get_env(self.instance_id)
            self.num_envs = described["num_envs"]
            self.single_action_space = rebuild(described["action_space"])
            self.single_observation_space = rebuild(described["observation_space"])
            self.action_space = batch_space(self.single_action_space, self.num_envs)
            self.observation_space = batch_space(self.single_observation_space, self.num_envs)
            self._write = action_writer(self.action_space)
            self._read = observation_reader(self.observation_space)
            self._read_one = observation_reader(self.single_observation_space)
        except BaseException:
            self.close()
            raise
        self.render_mode = described["render_mode"]
        self.metadata = {
            "render_modes": [self.render_mode] if self.render_mode else [],
            "render_fps": FPS,
            "autoreset_mode": AutoresetMode[(described["autoreset_mode"] or "next_step").upper()],
        }
        given: dict[str, Any] = {"url": url, "env_id": env_id, "num_envs": num_envs, "render_mode": render_mode}
        if api_key is not None:
            given["api_key"] = api_key
        self.spec = EnvSpec(
            ENV_ID,
            vector_entry_point=f"{__name__}:{type(self).__qualname__}",
            kwargs={**given, "timeout": timeout, "packed": packed, **create},
            disable_env_checker=True,
        )

    @property
    def spec(self) -> EnvSpec | None:
        """What makes the same batch again; its `repr` does not show the API key."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = guarded(spec)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start an episode in every lane, or in those of `options["reset_mask"]`, an array of booleans.

        Args:
            seed: lane i is seeded with `seed + i`; or a list with a seed for each lane.
            options: for the environments' own reset.

        Returns:
            The observations of all lanes, and infos.
        """
        options = dict(options or {})
        mask = options.pop("reset_mask", None)
        several = None if seed is None or isinstance(seed, int | np.integer) else list(seed)
        super().reset(seed=None if several is not None else seed)  # type: ignore[arg-type]
        reply = self._client.reset_batch(
            self.instance_id,
            seed if several is None else None,  # type: ignore[arg-type]
            seeds=several,
            options=options or None,
            reset_mask=None if mask is None else np.asarray(mask).tolist(),
        )
        return self._read(reply["observations"]), self._infos(reply["infos"])

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take an action in each lane.

        Returns:
            The observations of all lanes; rewards, an array of floats of shape (num_envs,); terminated and truncated,
            arrays of booleans of that shape; infos.
        """
        reply = self._client.step_batch(self.instance_id, self._write(actions))
        infos = reply["infos"]
        return (
            self._read(reply["observations"]),
            _array(reply["rewards"], np.float64),
            _array(reply["terminated"], np.bool_),
            _array(reply["truncated"], np.bool_),
            self._infos(infos) if infos else infos,
        )

    def snapshot(self) -> str:
        """Save the state of all lanes on the server, their random generators included; return the id of the snapshot.

        Raises:
            ServerProblem: 409, the batch has not been reset yet, cannot be copied, or has its lanes in processes of their
                own; 429, there are as many snapshots as the server allows.
        """
        return self._client.create_snapshot(self.instance_id)

    def restore(self, snapshot_id: str) -> Any:
        """Go back to a snapshot, as often as wanted; return the observations of that moment.

        Raises:
            ServerProblem: 404, there is no such snapshot.
        """
        return self._read(self._client.restore_snapshot(self.instance_id, snapshot_id))

    def update(
        self,
        *,
        name: str | EllipsisType | None = ...,
        labels: dict[str, str | None] | EllipsisType | None = ...,
    ) -> dict[str, Any]:
        """Change what people call the batch; return its description, with its `name` and `labels`.

        Args:
            name: on one line; None takes it away, and without this argument it stays.
            labels: texts to set by their names, and None for those to take away; None takes all away.

        Raises:
            ServerProblem: 400, the server takes no such name or label.
        """
        return self._client.update_env(self.instance_id, name=name, labels=labels)

    def close_extras(self, **kwargs: Any) -> None:  # noqa: ARG002 -- Gymnasium's signature
        """Close the batch and forget it on the server, whatever has become of the server."""
        forget(self._client, self.instance_id)

    def _infos(self, infos: dict[str, Any]) -> dict[str, Any]:
        """Return infos as Gymnasium has them: an array for each name, of objects where it cannot be one of numbers."""
        made: dict[str, Any] = {}
        for name, value in infos.items():
            if type(value) is dict:
                made[name] = self._infos(value)
            elif type(value) is list and len(value) == self.num_envs:
                made[name] = array = np.full(self.num_envs, None, object)
                read = self._read_one if name == "final_obs" else own
                for lane, item in enumerate(value):
                    array[lane] = None if item is None else read(item)
            else:
                made[name] = own(value)
        return made


def _array(values: Any, dtype: Any) -> Any:
    return np.array(values) if type(values) is np.ndarray else np.array(values, dtype)
