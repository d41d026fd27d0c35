"""`RemoteInstance`: the half that `RemoteEnv` and `RemoteVectorEnv` share."""

from __future__ import annotations

import contextlib
import copy
import os
import threading
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from gymnasium.vector import AutoresetMode

from ..runtime.values.spaces import rebuild
from ..runtime.values.value_types import Retyper
from .copies import KEY_VARIABLE, Remade
from .http.problem import ServerProblem
from .values import action_writer, observation_reader, remote_space

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import EllipsisType

    from gymnasium import Space
    from gymnasium.envs.registration import EnvSpec

    from .client import Client

_UNKNOWN_INSTANCE_STATUS = 400


class RemoteInstance(Remade):
    """A mixin: an instance on a server, closed there with this object; its spec, value types and snapshots."""

    metadata: dict[str, Any]
    action_space: Space[Any]
    observation_space: Space[Any]
    close: Callable[..., None]

    _instance_id: str | None = None
    _spaces_change = False

    def _create(self, client: Client, env_id: str, create: dict[str, Any]) -> dict[str, Any]:
        """Create the instance and its spaces; return its description. If this fails, nothing is left on the server."""
        self._client = client
        try:
            self._instance_id = client.create_env(env_id, **create)["instance_id"]
            client.keeper.own(self, self._instance_id)
            description = client.get_env(self._instance_id)
            self._use_spaces(description)
            if "reward_space" in description:  # for a batch that of a lane, as mo-gymnasium has it
                self.reward_space = rebuild(description["reward_space"])
            self.metadata = _metadata(description)
        except BaseException:
            self.close()
            raise
        self._specification: dict[str, Any] = description["specification"]
        self._types: dict[str, str] = {}
        self._retype = Retyper({})
        return description

    def _use_spaces(self, description: dict[str, Any]) -> None:
        self._descriptors = description["action_space"], description["observation_space"]
        self._create_spaces(description)
        self._write = action_writer(self.action_space)
        self._read = observation_reader(self.observation_space)

    def _follow_spaces(self, reply: dict[str, Any]) -> None:
        """Take the spaces of a reply, which an environment sends that changes its own."""
        if "action_space" in reply and self._descriptors != (reply["action_space"], reply["observation_space"]):
            self._spaces_change = True
            self._use_spaces(reply)

    @abstractmethod
    def _create_spaces(self, description: dict[str, Any]) -> None:
        """Set the spaces, from the description of the instance."""

    def _space(self, name: str, description: Mapping[str, Any]) -> Space[Any]:
        return remote_space(self._client, self.instance_id, name, description[f"{name}_space"])

    @property
    def spec(self) -> EnvSpec | None:
        """Makes the same environment or batch again. It has no API key: that is read from GYM_HTTP_SERVER_API_KEY."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = _completed(spec, self._specification)

    @property
    def instance_id(self) -> str:
        """The id of the instance on the server.

        Raises:
            RuntimeError: the environment is closed.
        """
        if self._instance_id is None:
            raise RuntimeError("the environment is closed: make another one")
        return self._instance_id

    def _retyped(self, reply: dict[str, Any], members: tuple[str, ...], values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the values of members with the NumPy and Python types that the reply names."""
        if "types" not in reply:
            return values
        # Most replies have the types of the reply before.
        if reply["types"] != self._types:
            self._types = reply["types"]
            self._retype = Retyper(self._types)
        return tuple(self._retype(name, reply[name], value) for name, value in zip(members, values, strict=True))

    def snapshot(self) -> str:
        """Save the state on the server, its random generators included; return the id of the snapshot.

        Raises:
            ServerProblem: 409, it has not been reset yet, cannot be copied, or is a batch whose lanes have their own
                processes; 429, it has the maximum of snapshots.
        """
        return self._client.create_snapshot(self.instance_id)

    def restore(self, snapshot_id: str) -> Any:
        """Go back to a snapshot, any number of times; return the observation of that moment, of a batch those of all lanes.

        The same actions then give the same observations and rewards, bit for bit. The object's own `np_random` stays as
        it is.

        Raises:
            ServerProblem: 404, there is no such snapshot.
        """
        reply = self._client.restored(self.instance_id, snapshot_id)
        if self._spaces_change:
            self._follow_spaces(self._client.get_env(self.instance_id))
        member = "observations" if "observations" in reply else "observation"
        [observation] = self._retyped(reply, (member,), (self._read(reply[member]),))
        return observation

    @contextlib.contextmanager
    def hold(self, mode: str = "exclusive", *, name: str | None = None, seconds: float = 30.0) -> Iterator[None]:
        """Take the instance over from its agent, or with mode `shared` play beside it, until the end of the block.

        Meanwhile calls of others that would change it raise `InstanceHeld`. A thread renews the hold.

        Args:
            mode: `exclusive` or `shared`.
            name: who plays, for those who are refused.
            seconds: after which the hold ends if this process dies.

        Raises:
            InstanceHeld: somebody else holds it.
        """
        client, instance_id = self._client, self.instance_id
        client.hold_env(instance_id, mode=mode, name=name, seconds=seconds)
        is_over = threading.Event()

        def renew() -> None:
            # A renewal that fails is told by the next call: the hold has ended, or the server cannot be reached.
            with contextlib.suppress(ServerProblem, OSError):
                while not is_over.wait(seconds / 3):
                    client.hold_env(instance_id)

        renewing = threading.Thread(target=renew, name=f"hold of {instance_id}", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            is_over.set()
            renewing.join()
            client.release_env(instance_id)

    def update(
        self,
        *,
        name: str | EllipsisType | None = ...,
        labels: dict[str, str | None] | EllipsisType | None = ...,
    ) -> dict[str, Any]:
        """Change the name and the labels on the server; return the description with its `name` and `labels`.

        Args:
            name: one line; None removes the name, and without this argument it stays.
            labels: texts to set by name, None for a label to remove; None removes all labels.

        Raises:
            ServerProblem: 400, the server takes no such name or label.
        """
        return self._client.update_env(self.instance_id, name=name, labels=labels)

    def _forget(self, instance_id: str) -> None:
        """Close the instance and the client; an unreachable server or an unknown instance is no error."""
        try:
            with contextlib.suppress(ConnectionError):
                self._client.close_env(instance_id)
        except ServerProblem as problem:
            if problem.status != _UNKNOWN_INSTANCE_STATUS:
                raise
        finally:
            self._client.close()


def key_for(api_key: str | None) -> str | None:
    """Return the API key, by default that of the variable."""
    return os.environ.get(KEY_VARIABLE) or None if api_key is None else api_key


def _metadata(description: Mapping[str, Any]) -> dict[str, Any]:
    metadata = dict(description["metadata"])
    mode = description["autoreset_mode"] or (None if description["num_envs"] is None else "next_step")
    if mode is not None:
        metadata["autoreset_mode"] = AutoresetMode[mode.upper()]
    return metadata


def _completed(spec: EnvSpec | None, specification: Mapping[str, Any]) -> EnvSpec | None:
    """Return a spec without the API key, because specs are saved in data sets, and with the environment's registered limits."""
    if spec is None:
        return None
    spec = copy.copy(spec)
    spec.kwargs = {name: value for name, value in spec.kwargs.items() if name != "api_key"}
    for name in ("max_episode_steps", "reward_threshold"):
        if getattr(spec, name) is None:
            setattr(spec, name, specification[name])
    spec.nondeterministic = spec.nondeterministic or specification["nondeterministic"]
    return spec
