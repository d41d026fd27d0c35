"""`RemoteVectorEnv`: a batch of environments on a server, as a vector environment of Gymnasium."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from .client import Client
from .http.body import msgpack_value
from .http.transport import MSGPACK
from .registration import ENV_ID
from .remote_instance import RemoteInstance, key_for
from .values import observation_reader, own

if TYPE_CHECKING:
    from collections.abc import Sequence

ENTRY_POINT = "vector_entry_point"

_RENAMED = ("vectorization_mode", "wrappers")
"""Arguments that `gymnasium.make_vec` would take for its own; in a spec their names begin with `server_`."""


_OUTCOME = ("observations", "rewards", "terminated", "truncated", "infos")
_OUTCOME_OF_COMPONENTS = ("observations", "component_rewards", "terminated", "truncated", "infos")
_PARTS = frozenset(("component_rewards", "terminations", "truncations"))


class RemoteVectorEnv(RemoteInstance, VectorEnv[Any, Any, Any]):
    """A batch of environments on a server that step together, with one request a step.

    Spaces, observations and infos are those of Gymnasium's own vector environments, whose lanes may have `wrappers`.
    `metadata["autoreset_mode"]` says when a lane whose episode has ended is reset. Copies, pickles, garbage collection and
    the end of the process are as for `RemoteEnv`.

    Args:
        url, env_id, api_key, timeout, packed: as for `RemoteEnv`.
        num_envs: the number of lanes.
        render_mode: by default `rgb_array`, where the environment has it.
        **create: further arguments of `Client.create_env`: `seed`, `kwargs`, `max_episode_steps`, `library`, `interpreter`,
            `call_timeout`, `vectorization_mode`, `autoreset_mode` (a name, or a member of Gymnasium's `AutoresetMode`),
            `wrappers`, `name`, `labels`, `lease`. `server_vectorization_mode` and `server_wrappers` are the same, for
            `gymnasium.make_vec`, which has its own arguments of these names.

    Raises:
        ServerProblem, ServerConnectionError, TimeoutError: as for `RemoteEnv`.
        ValueError: the server answered with an unknown kind of space, or `render_mode` is `human`.
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
        self.closed = True  # for `VectorEnv.__del__`, should this raise
        if render_mode == "human":
            raise ValueError(
                "render_mode='human' is not for a batch, whose lanes would share a window: use 'rgb_array'"
            )
        for name in _RENAMED:
            value = create.pop(f"server_{name}", None)
            if value is not None:
                create[name] = value
        if isinstance(create.get("autoreset_mode"), AutoresetMode):
            create["autoreset_mode"] = create["autoreset_mode"].name.lower()
        client = Client(url, key_for(api_key), timeout, packed=packed)
        self.closed = False
        description = self._create(client, env_id, {"num_envs": num_envs, "render_mode": render_mode, **create})
        self.render_mode = description["render_mode"]
        self.autoreset_mode: AutoresetMode = self.metadata["autoreset_mode"]
        self._seeds = _Seeds(description["np_random_seeds"] or [None], create.get("seed"))
        self._has_lanes = description["vectorization_mode"] != ENTRY_POINT
        arguments: dict[str, Any] = {"url": url, "env_id": env_id, "num_envs": num_envs, "render_mode": render_mode}
        arguments |= {f"server_{name}" if name in _RENAMED else name: value for name, value in create.items()}
        self.spec = EnvSpec(
            ENV_ID,
            vector_entry_point=f"{__name__}:{type(self).__qualname__}",
            kwargs={**arguments, "timeout": timeout, "packed": packed, "vectorization_mode": ENTRY_POINT},
            disable_env_checker=True,
        )

    def _create_spaces(self, description: dict[str, Any]) -> None:
        self.num_envs = description["num_envs"]
        self.single_action_space = self._space("action", description)
        self.single_observation_space = self._space("observation", description)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._read_lane = observation_reader(self.single_observation_space)

    @property
    def np_random_seed(self) -> Any:
        """The seeds of the lanes' random generators, a tuple, or of the one generator of all lanes; -1 if unknown."""
        seeds = tuple(-1 if seed is None else seed for seed in self._seeds.values)
        return seeds if self._has_lanes else seeds[0]

    @property
    def np_random(self) -> Any:
        """Generators with the seeds of the lanes' own, a tuple, or the one of all lanes."""
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
        seeds = None if seed is None or isinstance(seed, int | np.integer) else list(seed)
        if seeds is not None and len(seeds) != self.num_envs:
            raise ValueError(
                f"If seeds are passed as a list the length must match num_envs={self.num_envs} but got length={len(seeds)}."
            )
        for lane_seed in [seed] if seeds is None else seeds:
            if lane_seed is not None:
                seeding.np_random(lane_seed)  # type: ignore[arg-type]  # raises Gymnasium's error for a bad seed
        reply = self._client.reset_batch(
            self.instance_id,
            seed if seeds is None else None,  # type: ignore[arg-type]
            seeds=seeds,
            options=options or None,
            reset_mask=None if mask is None else mask.tolist(),
            types=True,
        )
        self._seeds.reset(seed, mask)
        values = self._read(reply["observations"]), self._infos(reply["infos"])
        return self._retyped(reply, ("observations", "infos"), values)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take an action in each lane.

        Returns:
            The observations of all lanes; rewards, an array of floats of shape (num_envs,), or with an axis of components,
            or of what each lane's environment returned; terminated and truncated, arrays of booleans; infos, where the ends
            by agent are `terminations` and `truncations`.
        """
        reply = self._client.step_batch(self.instance_id, self._write(actions), types=True)
        infos = reply["infos"]
        names, rewards = _OUTCOME, reply["rewards"]
        if not _PARTS.isdisjoint(reply):
            infos = infos | {name: reply[name] for name in ("terminations", "truncations") if name in reply}
            if "component_rewards" in reply:
                names, rewards = _OUTCOME_OF_COMPONENTS, reply["component_rewards"]
        values = (
            self._read(reply["observations"]),
            _array(rewards, np.float64) if names is _OUTCOME else own(rewards),
            _array(reply["terminated"], np.bool_),
            _array(reply["truncated"], np.bool_),
            self._infos(infos) if infos else infos,
        )
        return values if "types" not in reply else self._retyped(reply, names, values)

    def render(self) -> tuple[Any, ...]:
        """Return the current frame of each lane: an array of shape (height, width, 3), or as the environment returns it.

        Raises:
            ServerProblem: 409, the render mode gives no frames.
        """
        return tuple(own(msgpack_value(self._client.render_env(self.instance_id, MSGPACK))["frames"]))

    def close_extras(self, **kwargs: Any) -> None:  # noqa: ARG002 -- Gymnasium's signature
        """Close the batch and forget it on the server; without a server it does nothing."""
        if self._instance_id is not None:
            self._forget(self._instance_id)

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

    def _infos(self, infos: dict[str, Any]) -> dict[str, Any]:
        """Return a writable copy of infos, with the final observations of lanes as values of their space."""
        writable: dict[str, Any] = own(infos)
        final = infos.get("final_obs")
        if type(final) is list:
            writable["final_obs"] = [None if value is None else self._read_lane(value) for value in final]
        return writable


class _Seeds:
    """The last seeds of the random generators of a batch, and generators that start from them.

    Args:
        known: the server's answer, a seed for each lane or one for all lanes.
        created_with: the seed of the creation, which the first reset uses by default.
    """

    def __init__(self, known: Sequence[str | None], created_with: int | None) -> None:
        self.values: list[int | None] = [None if seed is None else int(seed) for seed in known]
        self._first = created_with
        self._generators: list[np.random.Generator | None] = [None] * len(self.values)

    def reset(self, seed: int | Sequence[int | None] | None, mask: np.ndarray[Any, Any] | None) -> None:
        """Note a reset with a seed, of which lane i takes `seed + i`, or a seed for each lane, in the lanes of `mask`."""
        if seed is None:
            seed = self._first
        self._first = None
        if seed is None:
            return
        seeds = [seed + lane for lane in range(len(self.values))] if isinstance(seed, int | np.integer) else seed
        for lane, lane_seed in enumerate(seeds):
            if lane_seed is not None and (mask is None or mask[lane]):
                self.values[lane], self._generators[lane] = int(lane_seed), None

    def generator(self, lane: int) -> np.random.Generator:
        """Return the generator of a lane."""
        generator = self._generators[lane]
        if generator is None:
            generator, seed = seeding.np_random(self.values[lane])
            self._generators[lane] = generator
            if self.values[lane] is None:
                self.values[lane] = seed
        return generator

    def use(self, generator: np.random.Generator) -> None:
        """Take the caller's generator, whose seed is unknown."""
        self.values[0], self._generators[0] = None, generator


def _array(values: Any, dtype: Any) -> Any:
    return own(values) if type(values) is np.ndarray else np.array(values, dtype)
