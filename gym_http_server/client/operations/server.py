"""`ServerMethods`: the registry, evaluations, recordings, health, metrics and the stop of the server."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

from .base import OperationBase, given


class ServerMethods(OperationBase):
    """The operations about the server as a whole."""

    def list_registry(
        self,
        q: str | None = None,
        library: str | None = None,
        page: int = 1,
        page_size: int = 50,
        interpreter: str | None = None,
    ) -> dict[str, Any]:
        """Return a page of the `environments` that can be made, and their number in `total`.

        Args:
            q: words that all occur in the id, in any case; None for all ids.
            library: only its environments, such as `gymnasium`; None for all.
            page: from 1.
            page_size: the maximum of environments on a page.
            interpreter: only its environments; None for all, and those of the server's own Python.

        Returns:
            For each environment `env_id`, `library`, `installed` (else `missing_package` and `reason`), and where it has
            them `max_episode_steps`, `reward_threshold`, `vector_entry_point` and `render_modes`,
            `kwargs` that it is registered with, and `interpreter`, None for the server's own. `libraries` and `interpreters` have the `name`, `state` and
            `reason` of each.

        Raises:
            ServerProblem: 502, a module that the server imports for the list hangs, or ended the importing process.
        """
        query = urlencode(given(q=q, library=library, interpreter=interpreter, page=page, page_size=page_size))
        return self._call("GET", f"/v1/registry/?{query}", repeatable=True)

    def upload_recording(
        self, training_dir: str, api_key: str, algorithm_id: str | None = None, component: str | None = None
    ) -> dict[str, Any]:
        """Evaluate a recording, and keep both where the server keeps results.

        Args:
            training_dir: the directory of the recording, as for `start_monitor`.
            api_key: not empty; passed on to a target that takes a token.
            algorithm_id: the algorithm's name on the scoreboard.
            component: the component of the rewards to evaluate, where they are no single numbers.

        Returns:
            The evaluation: `evaluation_id`, `episodes`, `mean_return`, `best_mean_return`, …
        """
        body = given(training_dir=training_dir, api_key=api_key, algorithm_id=algorithm_id, component=component)
        return self._call("POST", "/v1/upload/", body)

    def list_evaluations(
        self,
        env_id: str | None = None,
        order: str = "newest",
        page: int = 1,
        page_size: int = 50,
        *,
        verified: bool = False,
    ) -> dict[str, Any]:
        """Return a page of the `evaluations`, `newest` or `best` first, or only the verified, and their number in `total`."""
        only = "true" if verified else None
        query = urlencode(given(env_id=env_id, order=order, page=page, page_size=page_size, verified=only))
        return self._call("GET", f"/v1/evaluations/?{query}", repeatable=True)

    def get_evaluation(self, evaluation_id: str) -> dict[str, Any]:
        """Return an evaluation with its learning `curve`."""
        return self._call("GET", f"/v1/evaluations/{quote(evaluation_id, safe='')}/", repeatable=True)

    def verify_evaluation(self, evaluation_id: str) -> dict[str, Any]:
        """Have the server replay the trajectories of an evaluation; return the `state` of that.

        It does not wait: `get_evaluation` tells under `verification` what has become of it.

        Raises:
            ServerProblem: 409, the evaluation has no trajectories.
        """
        return self._call("POST", f"/v1/evaluations/{quote(evaluation_id, safe='')}/verify/")

    def get_verification(self, evaluation_id: str) -> dict[str, Any]:
        """Return the `state` of the verification of an evaluation, and what is known of it.

        Raises:
            ServerProblem: 404, there is none.
        """
        return self._call("GET", f"/v1/evaluations/{quote(evaluation_id, safe='')}/verify/", repeatable=True)

    def get_episode(
        self, evaluation_id: str, episode: int, start: int = 0, count: int = 100, *, values: bool = True
    ) -> dict[str, Any]:
        """Return `states` of a recorded episode, and in `next` where the next page starts.

        Args:
            evaluation_id: an evaluation with trajectories.
            episode: its number, from 0.
            start: the first state; 0 is that of the reset.
            count: the maximum of states.
            values: with observations and infos.
        """
        query = urlencode({"start": start, "count": count, "values": "true" if values else "false"})
        path = f"/v1/evaluations/{quote(evaluation_id, safe='')}/episodes/{episode}/?{query}"
        return self._call("GET", path, repeatable=True)

    def get_episode_frame(self, evaluation_id: str, episode: int, step: int, media_type: str = "image/png") -> bytes:
        """Return a frame of a recorded episode, which the server draws again: an image, or a text for `ansi`."""
        path = f"/v1/evaluations/{quote(evaluation_id, safe='')}/episodes/{episode}/frames/{step}/"
        return self._file(path, media_type)

    def download_evaluation(self, evaluation_id: str) -> bytes:
        """Return all files of an evaluation as a ZIP archive: recording, trajectories and videos."""
        return self._file(f"/v1/evaluations/{quote(evaluation_id, safe='')}/files/", "application/zip")

    def download_dataset(self, evaluation_id: str) -> bytes:
        """Return the trajectories of an evaluation as a dataset in Parquet, in a ZIP archive.

        Raises:
            ServerProblem: 409, it has no trajectories, or only actions; 400, the server lacks pyarrow.
        """
        return self._file(f"/v1/evaluations/{quote(evaluation_id, safe='')}/dataset/", "application/zip")

    def list_recordings(self, page: int = 1, page_size: int = 50) -> dict[str, Any]:
        """Return a page of the `recordings` on the server's machine, the newest first, and their number in `total`.

        Returns:
            Of each `directory`, `updated_at`, `env_id`, `library`, `trajectories` (`none`, `full` or `actions`) and
            `trajectory_bytes`. `is_complete` is false where the search was ended early.
        """
        return self._call(
            "GET", f"/v1/recordings/?{urlencode({'page': page, 'page_size': page_size})}", repeatable=True
        )

    def get_recording(self, directory: str) -> dict[str, Any]:
        """Return what `list_recordings` tells of one, and how many episodes are complete, and how many have trajectories."""
        return self._call("GET", f"/v1/recordings/details/?{urlencode({'directory': directory})}", repeatable=True)

    def get_recorded_episode(
        self, directory: str, episode: int, start: int = 0, count: int = 100, *, values: bool = True
    ) -> dict[str, Any]:
        """Return `states` of an episode of a recording; the rest as in `get_episode`."""
        shown = {"start": start, "count": count, "values": "true" if values else "false"}
        query = urlencode({"directory": directory, **shown})
        return self._call("GET", f"/v1/recordings/episodes/{episode}/?{query}", repeatable=True)

    def get_recorded_frame(self, directory: str, episode: int, step: int, media_type: str = "image/png") -> bytes:
        """Return a frame of an episode of a recording, as `get_episode_frame`."""
        query = urlencode({"directory": directory})
        return self._file(f"/v1/recordings/episodes/{episode}/frames/{step}/?{query}", media_type)

    def download_recording(self, directory: str) -> bytes:
        """Return the files of a recording as a ZIP archive."""
        return self._file(f"/v1/recordings/files/?{urlencode({'directory': directory})}", "application/zip")

    def download_recorded_dataset(self, directory: str) -> bytes:
        """Return the trajectories of a recording as a dataset in Parquet, as `download_dataset`."""
        return self._file(f"/v1/recordings/dataset/?{urlencode({'directory': directory})}", "application/zip")

    def shutdown_server(self) -> None:
        """Stop the server: it finishes the requests in execution and closes every environment."""
        self._call("POST", "/v1/shutdown/")

    def get_health(self) -> dict[str, Any]:
        """Return `status` (`ok`), `version`, `engine` and `instances`, the number of live instances."""
        return self._call("GET", "/v1/health/", repeatable=True)

    def get_metrics(self) -> str:
        """Return the metrics in the text format of Prometheus."""
        return self._file("/metrics", "text/plain").decode()
