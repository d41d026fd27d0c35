"""`EpisodeMethods`: reset, step, rollout and render, for environments and batches; snapshots; the monitor."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from .base import OperationBase, given, instance_path


class EpisodeMethods(OperationBase):
    """The operations that play, save, show and record episodes."""

    def reset_env(
        self,
        instance_id: str,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
        types: bool = False,
    ) -> dict[str, Any]:
        """Start an episode; return its first `observation` and `info`, and with `types` what `step_env` does."""
        body = given(seed=seed, options=options, types=types or None)
        return self._call("POST", instance_path(instance_id, "/reset/"), body, hot=True, keyed=True)

    def step_env(self, instance_id: str, action: Any, render: bool = False, types: bool = False) -> dict[str, Any]:
        """Take one action.

        Args:
            instance_id: a single environment.
            action: an element of its action space.
            render: ask for the frame after the step; only a client with `packed` gets it.
            types: ask for the NumPy and Python types that JSON and MessagePack do not show.

        Returns:
            `observation`; `reward`, a float; the bools `terminated`, `truncated` and `done` (either of them); `info`,
            a dict. With `render` also `frame`: an array of uint8 of shape (height, width, 3) or as the environment
            returns it, a text, or None, in which case `frame_error` says why. With `types`, where there are any, also
            `types`: type names by JSON pointer, such as `{"/info/prob": "<f8"}`.

        Raises:
            ServerProblem: 400, the action lies outside the action space; 409, the instance needs a reset first; 410,
                the environment is lost; 502, it raised or died during the call; 504, it took too long.
        """
        body = {"action": action, "render": True} if render else {"action": action}
        if types:
            body["types"] = True
        return self._call("POST", instance_path(instance_id, "/step/"), body, hot=True, keyed=True)

    def rollout(
        self,
        instance_id: str,
        *,
        actions: Any = None,
        policy: str | None = None,
        steps: int | None = None,
        episodes: int | None = None,
        seed: int | None = None,
        types: bool = False,
    ) -> dict[str, Any]:
        """Take many steps with one request; an episode that ends within it is followed by a reset.

        Args:
            instance_id: a single environment.
            actions: a list, or an array whose first axis is time.
            policy: `random`, instead of `actions`.
            steps: number of steps of `policy`.
            episodes: number of episodes of `policy`.
            seed: begins with a reset with this seed.
            types: as for `step_env`.

        Returns:
            For T steps, `observations` (T+1), `actions`, `rewards`, `terminated` and `truncated` (T each), and
            `final_observations`, the last observation of each episode that ended.
        """
        body = given(actions=actions, policy=policy, steps=steps, episodes=episodes, seed=seed, types=types or None)
        return self._call("POST", instance_path(instance_id, "/rollout/"), body, hot=True, keyed=True)

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
        """Start an episode in every lane of a batch, or in the lanes of a mask; return `observations` and `infos`.

        Args:
            instance_id: a batch.
            seed: lane i is seeded with `seed + i`.
            seeds: or a seed for each lane, None for fresh entropy.
            options: for the environments' own reset.
            reset_mask: the lanes to reset.
            types: as for `step_env`.
        """
        body = given(seed=seed, seeds=seeds, options=options, reset_mask=reset_mask, types=types or None)
        return self._call("POST", instance_path(instance_id, "/batch/reset/"), body, hot=True, keyed=True)

    def step_batch(self, instance_id: str, actions: Any, types: bool = False) -> dict[str, Any]:
        """Take an action in each lane of a batch.

        Args:
            instance_id: a batch.
            actions: one for each lane.
            types: as for `step_env`.

        Returns:
            `observations`, `rewards`, `terminated` and `truncated`, each with an element for each lane, and `infos`.
        """
        body = {"actions": actions, "types": True} if types else {"actions": actions}
        return self._call("POST", instance_path(instance_id, "/batch/step/"), body, hot=True, keyed=True)

    def render_env(self, instance_id: str, media_type: str = "image/png", lane: int | None = None) -> bytes:
        """Return the current frame as a file.

        Args:
            instance_id: an environment or a batch.
            media_type: `image/png`, `image/jpeg`, or `text/plain` for the render mode `ansi`. `application/msgpack` is a
                map with the member `frame`, an array or a text; for a batch without `lane` with `frames`, a list.
            lane: the lane of a batch; by default the first.

        Raises:
            ServerProblem: 406, the render mode has no such media type; 409, the instance has no frame.
        """
        rest = "/render/" if lane is None else f"/render/?lane={lane}"
        return self._file(instance_path(instance_id, rest), media_type)

    def get_live(
        self, instance_id: str, *, lane: int | None = None, max_elements: int | None = None, after_episode: int = 0
    ) -> dict[str, Any]:
        """Return the latest step of an instance, as somebody who watches sees it; whoever steps it goes on undisturbed.

        Args:
            instance_id: an environment or a batch.
            lane: a lane of a batch; None for all.
            max_elements: larger arrays, lists and texts come as their summary: an object with `summary_of`, `shape` and,
                for numbers, `dtype`, `min`, `max` and `mean`.
            after_episode: number of the episode after which episodes are returned.

        Returns:
            `lanes`, each with `observation`, `action`, `reward`, `terminated`, `truncated`, and the `return` and `length`
            of its current episode; `latest_episodes`, each with `number`, `lane`, `return` and `length`; `steps`;
            `episodes`; and `version`, a text that is another after each step, reset and restore.
        """
        asked = given(lane=lane, max_elements=max_elements, after_episode=after_episode or None)
        path = instance_path(instance_id, "/live/")
        return self._call("GET", f"{path}?{urlencode(asked)}" if asked else path, hot=True, repeatable=True)

    def create_snapshot(self, instance_id: str) -> str:
        """Save the state of an instance with its random generators; return the id of the snapshot.

        Raises:
            ServerProblem: 409, it has not been reset yet or cannot be copied; 429, it has the maximum of snapshots.
        """
        path = instance_path(instance_id, "/snapshots/")
        snapshot_id: str = self._call("POST", path, hot=True, keyed=True)["snapshot_id"]
        return snapshot_id

    def list_snapshots(self, instance_id: str) -> dict[str, Any]:
        """Return `snapshots`, the oldest first, and `limit`, their maximum number.

        Each snapshot has its `snapshot_id`, its time (`created_at`) and the number of `steps` until then.
        """
        return self._call("GET", instance_path(instance_id, "/snapshots/"), repeatable=True)

    def restore_snapshot(self, instance_id: str, snapshot_id: str) -> Any:
        """Go back to a snapshot, any number of times; return the observation of that moment.

        The same actions then give the same observations and rewards, bit for bit.

        Raises:
            ServerProblem: 404, the instance has no such snapshot.
        """
        reply = self.restored(instance_id, snapshot_id)
        return reply["observations"] if "observations" in reply else reply["observation"]

    def restored(self, instance_id: str, snapshot_id: str) -> dict[str, Any]:
        """Go back to a snapshot; return the whole reply, with `types` as of `step_env` where there are any."""
        path = instance_path(instance_id, f"/snapshots/{quote(snapshot_id, safe='')}/restore/")
        return self._call("POST", path, hot=True, repeatable=True)

    def delete_snapshot(self, instance_id: str, snapshot_id: str) -> None:
        """Delete a snapshot; the instance stays as it is.

        Raises:
            ServerProblem: 404, the instance has no such snapshot.
        """
        path = instance_path(instance_id, f"/snapshots/{quote(snapshot_id, safe='')}/")
        self._call("DELETE", path, hot=True, repeatable=True)

    def start_monitor(
        self,
        instance_id: str,
        directory: str,
        *,
        force: bool = False,
        resume: bool = False,
        video_callable: bool | int | str = False,
        trajectories: bool | str = False,
    ) -> None:
        """Record the episodes of an instance from its next reset on.

        Args:
            instance_id: an environment or a batch.
            directory: on the server, below its results roots; a relative path is below the first root.
            force: delete an earlier recording there.
            resume: keep an earlier recording, and record beside it.
            video_callable: False for no videos, N for every Nth episode, True for the episodes 0, 1, 8, 27, …
            trajectories: True to record observations, actions, rewards and infos of every step as well, `actions` for what a
                replay needs: seeds, actions and rewards.

        Raises:
            ServerProblem: 403, the directory is outside the roots; 409, it already holds a recording, or there is
                nothing to film.
        """
        body = {"directory": directory, "force": force, "resume": resume, "video_callable": video_callable}
        if trajectories is not False:
            body["trajectories"] = trajectories
        self._call("POST", instance_path(instance_id, "/monitor/start/"), body)

    def close_monitor(self, instance_id: str) -> None:
        """Stop recording and finish the files; without a monitor it does nothing."""
        self._call("POST", instance_path(instance_id, "/monitor/close/"))

    def get_monitor(self, instance_id: str) -> dict[str, Any]:
        """Return what the latest monitor has recorded: `directory`, `episodes`, returns and lengths, `videos`."""
        return self._call("GET", instance_path(instance_id, "/monitor/"), repeatable=True)
