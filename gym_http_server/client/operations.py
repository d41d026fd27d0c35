"""`Operations`: one method per operation of the contract, independent of the transport."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import EllipsisType

PNG = "image/png"
MAX_SEED = (1 << 53) - 1  # the largest that a number of the contract carries


class Operations(ABC):
    """One method per operation of the contract.

    Every method raises `ServerProblem` when the server answers with an error (an unknown instance is a 400),
    `ServerConnectionError` when the server cannot be reached or went away before it answered, also after several attempts, and
    `TimeoutError` when no answer came in time. A call whose action, observation or options have no form on the wire raises
    `TypeError`.
    """

    _default_lease: float | None = None

    def _note_lease(self, instance_id: str, lease: float) -> None:  # noqa: B027 -- who renews no leases notes nothing
        """Note that an instance was made with a lease of so many seconds."""

    def _note_end(self, instance_id: str) -> None:  # noqa: B027 -- as above
        """Note that an instance is closed."""

    @abstractmethod
    def _call(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        hot: bool = False,
        repeatable: bool = False,
        keyed: bool = False,
    ) -> dict[str, Any]:
        """Send a request; return the members of the reply.

        Args:
            method: the HTTP method.
            path: the path, percent-encoded.
            body: the members of the body, or None for a request without one.
            hot: the operation also speaks MessagePack.
            repeatable: the request changes nothing, or nothing more when it comes twice, so it may be sent again if no
                answer came.
            keyed: the operation takes an `Idempotency-Key`, so it may be sent again with the same.
        """

    @abstractmethod
    def _file(self, path: str, media_type: str) -> bytes:
        """Return what is at a path as a file of a media type."""

    def create_env(
        self,
        env_id: str,
        *,
        seed: int | None = None,
        kwargs: dict[str, Any] | None = None,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        library: str | None = None,
        call_timeout: float | None = None,
        num_envs: int | None = None,
        vectorization_mode: str | None = None,
        autoreset_mode: str | None = None,
        wrappers: Sequence[Mapping[str, Any]] | None = None,
        autoreset: bool | None = None,
        name: str | None = None,
        labels: dict[str, str] | None = None,
        lease: float | EllipsisType | None = ...,
    ) -> dict[str, str]:
        """Make an environment, or a batch of them.

        Args:
            env_id: such as `CartPole-v1`; an id no library ships any more is served by its successor.
            seed: makes the first episode and the sampled actions repeatable; 0 is a seed.
            kwargs: passed to the environment's constructor.
            max_episode_steps: truncates episodes after so many steps.
            render_mode: `rgb_array` where the environment has it, unless given.
            library: `auto`, `gymnasium` or `gym`.
            call_timeout: seconds that one call of this environment may take on the server.
            num_envs: makes a batch of so many, for `reset_batch` and `step_batch`.
            vectorization_mode: how the batch is made: `auto`, `sync`, `async` or `vector_entry_point`.
            autoreset_mode: what it does with an ended episode: `next_step`, `same_step` or `disabled`.
            wrappers: of Gymnasium, to put around it, the innermost first: a `name` and optional `kwargs` each.
            autoreset: the step after an episode's end starts the next one; not for a batch.
            name: what people call it, on lists and pages.
            labels: texts by which people tell it apart, by their names.
            lease: seconds without a use or a renewal after which it is closed; None for none, but for the server's
                `--idle-timeout`. Without this argument it is what `Client` says.

        Returns:
            `instance_id`, the `env_id` really served, and `library` with its version.
        """
        asked = {
            "env_id": env_id,
            "seed": seed,
            "kwargs": kwargs,
            "max_episode_steps": max_episode_steps,
            "render_mode": render_mode,
            "library": library,
            "call_timeout": call_timeout,
            "num_envs": num_envs,
            "vectorization_mode": vectorization_mode,
            "autoreset_mode": autoreset_mode,
            "wrappers": wrappers,
            "autoreset": autoreset,
            "name": name,
            "labels": labels,
            "lease": self._default_lease if lease is ... else lease,
        }
        made = self._call("POST", "/v1/envs/", _given(_seeded(asked)), keyed=True)
        if isinstance(asked["lease"], int | float):
            self._note_lease(made["instance_id"], asked["lease"])
        return made

    def list_envs(self) -> dict[str, str]:
        """Return the environment id of every live instance by instance id; `list_named_envs` tells their names, too."""
        envs: dict[str, str] = self._call("GET", "/v1/envs/", repeatable=True)["envs"]
        return envs

    def list_named_envs(self) -> dict[str, dict[str, Any]]:
        """Return every live instance by instance id, with what people call it: the same request as that of `list_envs`.

        Returns:
            Of each its `env_id`, its `name`, a text or None, and its `labels`, a dict of texts.
        """
        listed = self._call("GET", "/v1/envs/", repeatable=True)
        # Servers of old have no names.
        names, labels = listed.get("names", {}), listed.get("labels", {})
        return {
            each: {"env_id": env_id, "name": names.get(each), "labels": labels.get(each, {})}
            for each, env_id in listed["envs"].items()
        }

    def get_env(self, instance_id: str) -> dict[str, Any]:
        """Return what an instance is, its spaces, its `state`, and how many `steps` and `episodes` it has made."""
        return self._call("GET", _path(instance_id, "/"), repeatable=True)

    def update_env(
        self,
        instance_id: str,
        *,
        name: str | EllipsisType | None = ...,
        labels: dict[str, str | None] | EllipsisType | None = ...,
    ) -> dict[str, Any]:
        """Change what people call an instance; return what `get_env` does.

        Args:
            instance_id: the instance.
            name: on one line; None takes it away, and without this argument it stays.
            labels: texts to set by their names, and None for those to take away; None takes all away.
        """
        changes = {key: value for key, value in (("name", name), ("labels", labels)) if value is not ...}
        # Sent twice, it changes nothing more.
        return self._call("PATCH", _path(instance_id, "/"), changes, repeatable=True)

    def renew_leases(self, instance_ids: Sequence[str]) -> list[str]:
        """Begin the time of each instance's `lease` anew, of at most 4,096; return those that are unknown."""
        body = {"instance_ids": list(instance_ids)}
        unknown: list[str] = self._call("POST", "/v1/leases/", body, repeatable=True)["unknown"]
        return unknown

    def reset_env(
        self,
        instance_id: str,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
        types: bool = False,
    ) -> dict[str, Any]:
        """Start an episode; return its first `observation` and `info`, a dict, and with `types` what `step_env` does."""
        asked = {"seed": seed, "options": options, "types": types or None}
        return self._call("POST", _path(instance_id, "/reset/"), _given(_seeded(asked)), hot=True, keyed=True)

    def step_env(self, instance_id: str, action: Any, render: bool = False, types: bool = False) -> dict[str, Any]:
        """Take one action.

        Args:
            instance_id: of a single environment.
            action: an element of its action space.
            render: ask for the frame after the step, which a client that is `packed` gets.
            types: ask for the types of NumPy and Python that the form of the reply does not tell.

        Returns:
            `observation`; `reward`, a float; the bools `terminated`, `truncated` and `done` (either of them); `info`,
            a dict. With `render` also `frame`, an array of uint8 of shape (height, width, 3) or what the environment has, a
            text where it renders text, and None where there is none; `frame_error` then says why. With `types`, where
            there are any, also `types`, a dict of their names by JSON pointer, such as `{"/info/prob": "<f8"}`.

        Raises:
            ServerProblem: 400, the action lies outside the action space; 409, the instance needs a reset first; 410,
                the environment is lost; 502, it raised or died during the call; 504, it took too long.
        """
        body = {"action": action, "render": True} if render else {"action": action}
        if types:
            body["types"] = True
        return self._call("POST", _path(instance_id, "/step/"), body, hot=True, keyed=True)

    def rollout(
        self,
        instance_id: str,
        *,
        actions: Any = None,
        policy: str | None = None,
        steps: int | None = None,
        episodes: int | None = None,
        seed: int | None = None,
    ) -> dict[str, Any]:
        """Take many steps with one request; an episode that ends within it is followed by a reset.

        Args:
            instance_id: of a single environment.
            actions: to take in order, a list or an array whose first axis is time.
            policy: `random`, instead of `actions`.
            steps: how many steps `policy` takes.
            episodes: or after how many ended episodes it stops.
            seed: begins with a reset with this seed.

        Returns:
            For T steps, `observations` (T+1 of them), `actions`, `rewards`, `terminated` and `truncated` (T each), and
            `final_observations`, the last observation of each episode that ended.
        """
        asked = {"actions": actions, "policy": policy, "steps": steps, "episodes": episodes, "seed": seed}
        return self._call("POST", _path(instance_id, "/rollout/"), _given(_seeded(asked)), hot=True, keyed=True)

    def reset_batch(
        self,
        instance_id: str,
        seed: int | None = None,
        *,
        seeds: list[int | None] | None = None,
        options: dict[str, Any] | None = None,
        reset_mask: list[bool] | None = None,
        types: bool = False,
    ) -> dict[str, Any]:
        """Start an episode in every lane of a batch, or in those of a mask.

        Args:
            instance_id: of a batch.
            seed: lane i is seeded with `seed + i`.
            seeds: or one for each lane, None for fresh entropy.
            options: for the environments' own reset.
            reset_mask: which lanes to reset.
            types: as for `step_env`.

        Returns:
            `observations` of all lanes and `infos`.
        """
        asked = {"seed": seed, "seeds": seeds, "options": options, "reset_mask": reset_mask, "types": types or None}
        return self._call("POST", _path(instance_id, "/batch/reset/"), _given(_seeded(asked)), hot=True, keyed=True)

    def step_batch(self, instance_id: str, actions: Any, types: bool = False) -> dict[str, Any]:
        """Take an action in each lane of a batch.

        Args:
            instance_id: of a batch.
            actions: one for each lane.
            types: as for `step_env`.

        Returns:
            `observations`, `rewards`, `terminated` and `truncated`, each with an element for each lane, and `infos`.
        """
        body = {"actions": actions, "types": True} if types else {"actions": actions}
        return self._call("POST", _path(instance_id, "/batch/step/"), body, hot=True, keyed=True)

    def get_transitions(self, instance_id: str) -> dict[str, Any]:
        """Return the tabular model of an environment of toy text, such as FrozenLake.

        Returns:
            `states` and `actions`, how many there are; `transitions[state][action]`, a list of what that may lead to, each a
            dict of `probability`, `next_state`, `reward` and `terminated`; and `initial_distribution`, a list or None.

        Raises:
            ServerProblem: 409, the environment has none.
        """
        return self._call("GET", _path(instance_id, "/transitions/"), repeatable=True)

    def create_snapshot(self, instance_id: str) -> str:
        """Save the whole state of an instance, its random generators included; return the id of the snapshot.

        Raises:
            ServerProblem: 409, it has not been reset yet or cannot be copied; 429, it has as many as the server allows.
        """
        snapshot_id: str = self._call("POST", _path(instance_id, "/snapshots/"), hot=True, keyed=True)["snapshot_id"]
        return snapshot_id

    def list_snapshots(self, instance_id: str) -> dict[str, Any]:
        """Return the `snapshots` of an instance, the oldest first, and the `limit`, how many there may be.

        Each snapshot has its `snapshot_id`, when it was made (`created_at`), and how many `steps` had been taken then.
        """
        return self._call("GET", _path(instance_id, "/snapshots/"), repeatable=True)

    def restore_snapshot(self, instance_id: str, snapshot_id: str) -> Any:
        """Go back to a snapshot, as often as wanted; return what was observed when it was made.

        The same actions then lead to the same observations and rewards, to the bit.

        Raises:
            ServerProblem: 404, the instance has no such snapshot.
        """
        path = _path(instance_id, f"/snapshots/{quote(snapshot_id, safe='')}/restore/")
        reply = self._call("POST", path, hot=True, repeatable=True)
        return reply["observations"] if "observations" in reply else reply["observation"]

    def delete_snapshot(self, instance_id: str, snapshot_id: str) -> None:
        """Forget a snapshot; the instance stays as it is.

        Raises:
            ServerProblem: 404, the instance has no such snapshot, or not any more.
        """
        path = _path(instance_id, f"/snapshots/{quote(snapshot_id, safe='')}/")
        self._call("DELETE", path, hot=True, repeatable=True)

    def get_action_space(self, instance_id: str) -> dict[str, Any]:
        """Return the action space: `name`, and what such a space has (`n`, `shape`, `low`, `high`, `dtype`, …)."""
        space: dict[str, Any] = self._call("GET", _path(instance_id, "/action_space/"), repeatable=True)["info"]
        return space

    def get_observation_space(self, instance_id: str) -> dict[str, Any]:
        """Return the observation space: `name`, and what such a space has (`n`, `shape`, `low`, `high`, `dtype`, …)."""
        space: dict[str, Any] = self._call("GET", _path(instance_id, "/observation_space/"), repeatable=True)["info"]
        return space

    def sample_action(self, instance_id: str) -> Any:
        """Return a random action. It moves the generator that `seed` of `create_env` started."""
        return self._call("GET", _path(instance_id, "/action_space/sample"), hot=True)["action"]

    def action_space_contains(self, instance_id: str, action: Any) -> bool:
        """Return whether `step_env` would take `action`."""
        return self._is_member(_path(instance_id, "/action_space/contains"), {"action": action})

    def action_space_contains_value(self, instance_id: str, x: str) -> bool:
        """Return whether `step_env` would take the action of which `x` is the JSON, such as `[0.5]`."""
        path = _path(instance_id, f"/action_space/contains/{quote(x, safe='')}")
        return bool(self._call("GET", path, repeatable=True)["member"])

    def observation_space_contains(self, instance_id: str, observation: Any) -> bool:
        """Return whether the observation space contains `observation`."""
        return self._is_member(_path(instance_id, "/observation_space/contains"), {"observation": observation})

    def render_env(self, instance_id: str, media_type: str = PNG, lane: int | None = None) -> bytes:
        """Return the current frame as a file of `media_type`: `image/png`, `image/jpeg` or, for `ansi`, `text/plain`.

        `application/msgpack` is a map with the member `frame`, an array or a text; or of a batch, without a lane, `frames`,
        a list of such.

        Args:
            instance_id: of an environment or a batch.
            media_type: the type of the file.
            lane: of a batch, whose first lane it is otherwise.

        Raises:
            ServerProblem: 406, the render mode cannot give that type; 409, the instance has no frame to give.
        """
        return self._file(_path(instance_id, "/render/" if lane is None else f"/render/?lane={lane}"), media_type)

    def start_monitor(
        self,
        instance_id: str,
        directory: str,
        *,
        force: bool = False,
        resume: bool = False,
        video_callable: bool | int | str = False,
    ) -> None:
        """Record the episodes of an instance from its next reset on.

        Args:
            instance_id: of an environment or a batch.
            directory: on the server's machine, under its results roots; a relative one is under the first of them.
            force: delete an earlier recording there.
            resume: keep it, and record beside it.
            video_callable: False for no videos, N for every Nth episode, True for the episodes 0, 1, 8, 27, …

        Raises:
            ServerProblem: 403, the directory is outside the roots; 409, it holds a recording already, or there is nothing
                to film.
        """
        body = {"directory": directory, "force": force, "resume": resume, "video_callable": video_callable}
        self._call("POST", _path(instance_id, "/monitor/start/"), body)

    def close_monitor(self, instance_id: str) -> None:
        """Stop recording; everything is on disk then. Without a monitor it does nothing."""
        self._call("POST", _path(instance_id, "/monitor/close/"))

    def get_monitor(self, instance_id: str) -> dict[str, Any]:
        """Return what the latest monitor has recorded: `directory`, `episodes`, returns and lengths, `videos`."""
        return self._call("GET", _path(instance_id, "/monitor/"), repeatable=True)

    def upload_recording(self, training_dir: str, api_key: str, algorithm_id: str | None = None) -> dict[str, Any]:
        """Make an evaluation of a recording, and keep both where the server keeps results.

        Args:
            training_dir: the directory of the recording, as for `start_monitor`.
            api_key: not empty; handed on to a target that takes a token.
            algorithm_id: what the algorithm is called on the scoreboard.

        Returns:
            The evaluation: `evaluation_id`, `episodes`, `mean_return`, `best_mean_return`, …
        """
        asked = {"training_dir": training_dir, "api_key": api_key, "algorithm_id": algorithm_id}
        return self._call("POST", "/v1/upload/", _given(asked))

    def list_evaluations(
        self, env_id: str | None = None, order: str = "newest", page: int = 1, page_size: int = 50
    ) -> dict[str, Any]:
        """Return a page of the `evaluations`, `newest` or `best` first, and how many there are in `total`."""
        query = _given({"env_id": env_id, "order": order, "page": page, "page_size": page_size})
        return self._call("GET", f"/v1/evaluations/?{urlencode(query)}", repeatable=True)

    def get_evaluation(self, evaluation_id: str) -> dict[str, Any]:
        """Return an evaluation with its learning `curve`."""
        return self._call("GET", f"/v1/evaluations/{quote(evaluation_id, safe='')}/", repeatable=True)

    def list_registry(
        self, q: str | None = None, library: str | None = None, page: int = 1, page_size: int = 50
    ) -> dict[str, Any]:
        """Return a page of the `environments` that can be made, and how many there are in `total`.

        Args:
            q: words that all occur in the id, whatever the case; None for all.
            library: `gymnasium` or `gym`; None for both.
            page: from 1.
            page_size: how many a page has at most.

        Returns:
            Of each environment `env_id` and `library`, whether it is `installed`, else `missing_package` and `reason`,
            `max_episode_steps`, `reward_threshold`, `vector_entry_point` and `render_modes`, as far as it has them.

        Raises:
            ServerProblem: 502, a module that the server imports for it hangs, or ended the process that did so.
        """
        query = _given({"q": q, "library": library, "page": page, "page_size": page_size})
        return self._call("GET", f"/v1/registry/?{urlencode(query)}", repeatable=True)

    def close_env(self, instance_id: str) -> None:
        """Close the environment and forget the instance."""
        self._call("POST", _path(instance_id, "/close/"), keyed=True)
        self._note_end(instance_id)

    def delete_env(self, instance_id: str) -> None:
        """Close the environment and forget the instance; the same as `close_env`."""
        self._call("DELETE", _path(instance_id, "/"), keyed=True)
        self._note_end(instance_id)

    def shutdown_server(self) -> None:
        """Stop the server: it finishes the requests under way and closes every environment."""
        self._call("POST", "/v1/shutdown/")

    def get_health(self) -> dict[str, Any]:
        """Return `status` (`ok`), `version`, `engine` and `instances`, the number of live ones."""
        return self._call("GET", "/v1/health/", repeatable=True)

    def get_metrics(self) -> str:
        """Return what the server counts, in the text format of Prometheus."""
        return self._file("/metrics", "text/plain").decode()

    def _is_member(self, path: str, body: dict[str, Any]) -> bool:
        return bool(self._call("POST", path, body, hot=True, repeatable=True)["member"])


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _seeded(members: dict[str, Any]) -> dict[str, Any]:
    """Return the members of a body with seeds that no number of JSON carries as decimal digits."""
    seed, seeds = members.get("seed"), members.get("seeds")
    if seed is not None and seed > MAX_SEED:
        members = {**members, "seed": None, "wide_seed": str(int(seed))}
    if seeds is not None and any(each is not None and each > MAX_SEED for each in seeds):
        digits = [None if each is None else str(int(each)) for each in seeds]
        members = {**members, "seeds": None, "wide_seeds": digits}
    return members


@lru_cache(1024)
def _path(instance_id: str, rest: str) -> str:
    return f"/v1/envs/{quote(instance_id, safe='')}{rest}"
