"""`RemoteVectorEnv`: a batch of environments on a server, as a vector environment of Gymnasium."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import seeding
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space

from ..runtime.values.spaces import rebuild
from ..runtime.values.value_types import Retyper
from .client import Client
from .copies import Remade
from .http.body import msgpack_value
from .http.transport import MSGPACK
from .registration import ENV_ID
from .remote_env import forget
from .specification import Seeds, completed, key_for, metadata_of, mode_name
from .values import action_writer, observation_reader, own

if TYPE_CHECKING:
    from types import EllipsisType

    from gymnasium.vector import AutoresetMode

ENTRY_POINT = "vector_entry_point"
_LANES = ("vectorization_mode", "wrappers")
_OUTCOME = ("observations", "rewards", "terminated", "truncated", "infos")


class RemoteVectorEnv(Remade, VectorEnv[Any, Any, Any]):
    """A batch of environments that step together on a server, with one request a step for all of them.

    Spaces, observations and infos are those of Gymnasium's own vector environments, whose lanes may have `wrappers`.
    `metadata["autoreset_mode"]` says what happens to a lane whose episode has ended. Copies, pickles and the end are as for
    `RemoteEnv`.

    Args:
        url: where the server is.
        env_id: the environment to make, such as `CartPole-v1`.
        num_envs: how many.
        render_mode: `rgb_array` where the environment has it, unless given.
        api_key: as for `Client`; that of the variable GYM_HTTP_SERVER_API_KEY, unless given.
        timeout: seconds to wait for an answer; None waits for ever.
        packed: speak MessagePack.
        **create: further arguments of `Client.create_env`: `seed`, `kwargs`, `max_episode_steps`, `library`,
            `call_timeout`, `vectorization_mode`, `autoreset_mode` (a name, or a member of Gymnasium's `AutoresetMode`),
            `wrappers`, `name`, `labels`, `lease`. `server_vectorization_mode` and `server_wrappers` are the same, for
            `gymnasium.make_vec`, which has arguments of these names.

    Raises:
        ServerProblem: the server refuses to make it, says what an environment did wrong, or lost it. A lost one (410)
            cannot be called any more: close it and make another.
        ServerConnectionError: the server cannot be reached, or went away.
        TimeoutError: no answer came in time.
        ValueError: the server answered a space that is not known here, or `render_mode` is `human`.
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
        if render_mode == "human":
            raise ValueError(
                "render_mode='human' is not for a batch, whose lanes would share a window: use 'rgb_array'"
            )
        self._client = Client(url, key_for(api_key), timeout, packed=packed)
        for name in _LANES:
            # Under these names a spec has what `gymnasium.make_vec` would take for its own arguments.
            if create.get(f"server_{name}") is not None:
                create[name] = create[f"server_{name}"]
            create.pop(f"server_{name}", None)
        if create.get("autoreset_mode") is not None:
            create["autoreset_mode"] = mode_name(create["autoreset_mode"])
        made = self._client.create_env(env_id, num_envs=num_envs, render_mode=render_mode, **create)
        self.instance_id: str = made["instance_id"]
        self.closed = False
        self._client.keeper.own(self, self.instance_id)
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
        self.metadata = metadata_of(described)
        self.autoreset_mode: AutoresetMode = self.metadata["autoreset_mode"]
        self._specification = described["specification"]
        self._seeds = Seeds(described["np_random_seeds"] or [None], create.get("seed"))
        self._has_lanes = described["vectorization_mode"] != ENTRY_POINT
        self._types: dict[str, str] = {}
        self._retype = Retyper({})
        given: dict[str, Any] = {"url": url, "env_id": env_id, "num_envs": num_envs, "render_mode": render_mode}
        given |= {f"server_{name}" if name in _LANES else name: value for name, value in create.items()}
        self.spec = EnvSpec(
            ENV_ID,
            vector_entry_point=f"{__name__}:{type(self).__qualname__}",
            kwargs={**given, "timeout": timeout, "packed": packed, "vectorization_mode": ENTRY_POINT},
            disable_env_checker=True,
        )

    @property
    def spec(self) -> EnvSpec | None:
        """What makes the same batch again, with the API key of the variable: a spec has none."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = completed(spec, self._specification)

    @property
    def np_random_seed(self) -> Any:
        """What the lanes' own random generators were seeded with, a tuple; or the one of all lanes. -1 where it is unknown."""
        seeds = tuple(-1 if seed is None else seed for seed in self._seeds.values)
        return seeds if self._has_lanes else seeds[0]

    @property
    def np_random(self) -> Any:
        """Generators seeded as those of the lanes, a tuple; or the one of all lanes."""
        if self._has_lanes:
            return tuple(self._seeds.generator(lane) for lane in range(self.num_envs))
        return self._seeds.generator(0)

    @np_random.setter
    def np_random(self, value: np.random.Generator) -> None:
        self._seeds.use(value)

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
        mask = None
        if options is not None and "reset_mask" in options:
            options = dict(options)
            mask = self._checked(options.pop("reset_mask"))
        several = None if seed is None or isinstance(seed, int | np.integer) else list(seed)
        if several is not None and len(several) != self.num_envs:
            raise ValueError(
                "If seeds are passed as a list the length must match "
                f"num_envs={self.num_envs} but got length={len(several)}."
            )
        for each in [seed] if several is None else several:
            if each is not None:
                seeding.np_random(each)  # type: ignore[arg-type]  # raises what Gymnasium has for one that is none
        reply = self._client.reset_batch(
            self.instance_id,
            seed if several is None else None,  # type: ignore[arg-type]
            seeds=several,
            options=options or None,
            reset_mask=None if mask is None else mask.tolist(),
            types=True,
        )
        self._seeds.reset(seed, mask)
        retype = self._retyper(reply)
        return (
            retype("observations", reply["observations"], self._read(reply["observations"])),
            retype("infos", reply["infos"], self._infos(reply["infos"])),
        )

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take an action in each lane.

        Returns:
            The observations of all lanes; rewards, an array of floats of shape (num_envs,); terminated and truncated,
            arrays of booleans of that shape; infos.
        """
        reply = self._client.step_batch(self.instance_id, self._write(actions), types=True)
        infos = reply["infos"]
        taken = (
            self._read(reply["observations"]),
            _array(reply["rewards"], np.float64),
            _array(reply["terminated"], np.bool_),
            _array(reply["truncated"], np.bool_),
            self._infos(infos) if infos else infos,
        )
        if "types" not in reply:
            return taken
        retype = self._retyper(reply)
        return tuple(retype(name, reply[name], value) for name, value in zip(_OUTCOME, taken, strict=True))

    def render(self) -> tuple[Any, ...]:
        """Return the current frame of each lane: an array of shape (height, width, 3) or what the environment has, or a text.

        Raises:
            ServerProblem: 409, the batch was made without a render mode that gives frames.
        """
        return tuple(own(msgpack_value(self._client.render_env(self.instance_id, MSGPACK))["frames"]))

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

    def _checked(self, mask: Any) -> np.ndarray[Any, Any]:
        """Return the mask of lanes to reset, or raise what Gymnasium's vector environments raise."""
        name = "`options['reset_mask']`"
        if not isinstance(mask, np.ndarray):
            raise TypeError(f"{name} must be a numpy array, got {type(mask)}")
        if mask.shape != (self.num_envs,):
            raise ValueError(f"{name} must have shape `({self.num_envs},)`, got {mask.shape}")
        if mask.dtype != np.bool_:
            raise TypeError(f"{name} must have `dtype=np.bool_`, got {mask.dtype}")
        if not mask.any():
            raise ValueError(f"{name} must contain a boolean array with at least one True value, got reset_mask={mask}")
        return mask

    def _retyper(self, reply: dict[str, Any]) -> Retyper:
        types = reply.get("types", {})
        if types != self._types:
            self._types, self._retype = types, Retyper(types)
        return self._retype

    def _infos(self, infos: dict[str, Any]) -> dict[str, Any]:
        """Return infos that may be written to, with the last observations of lanes as their space has them."""
        made: dict[str, Any] = own(infos)
        final = infos.get("final_obs")
        if type(final) is list:
            made["final_obs"] = [None if each is None else self._read_one(each) for each in final]
        return made


def _array(values: Any, dtype: Any) -> Any:
    return np.array(values) if type(values) is np.ndarray else np.array(values, dtype)
