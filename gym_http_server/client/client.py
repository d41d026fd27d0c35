"""`Client`: one method per operation of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import orjson

from .body import json_body
from .problem import ServerProblem
from .transport import DEFAULT_PORT, Transport

if TYPE_CHECKING:
    from types import TracebackType

PNG = "image/png"


class Client:
    """A client of one server.

    Threads may share a client: each has its own connection, opened by its first call and kept for the next ones. After
    a fork the child opens its own.

    Every method raises `ServerProblem` when the server answers with an error (an unknown instance is a 400),
    `ConnectionError` when the server cannot be reached or went away before it answered, and `TimeoutError` when no
    answer came in time. A call whose action, observation or options have no JSON form raises `TypeError`.

    Values are those of JSON: arrays are nested lists, a value of a Discrete space is an int, NaN is None and ±infinity
    is ±1e100. Actions and observations may be given as arrays and scalars of numpy.

    Args:
        url: where the server is; a path in it is put before every operation's path.
        timeout: seconds to wait for an answer; None waits for ever. It should not be shorter than the server's
            `--call-timeout`, whose 504 tells more.

    Raises:
        ValueError: `url` is not the address of a server.
    """

    def __init__(self, url: str = f"http://127.0.0.1:{DEFAULT_PORT}", timeout: float | None = 300.0) -> None:
        self._transport = Transport(url, timeout)

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Where the server is, without a final slash."""
        return self._transport.url

    def close(self) -> None:
        """Close the connections of all threads; instances on the server stay. A later call opens a new connection."""
        self._transport.close()

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
    ) -> dict[str, str]:
        """Make an environment.

        Args:
            env_id: such as `CartPole-v1`; an id no library ships any more is served by its successor.
            seed: makes the first episode and the sampled actions repeatable; 0 is a seed.
            kwargs: passed to the environment's constructor.
            max_episode_steps: truncates episodes after so many steps.
            render_mode: `rgb_array` where the environment has it, unless given.
            library: `auto`, `gymnasium` or `gym`.
            call_timeout: seconds that one call of this environment may take on the server.

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
        }
        reply: dict[str, str] = self._post(
            "/v1/envs/", {key: value for key, value in asked.items() if value is not None}
        )
        return reply

    def list_envs(self) -> dict[str, str]:
        """Return the environment id of every live instance by instance id."""
        envs: dict[str, str] = self._get("/v1/envs/")["envs"]
        return envs

    def get_env(self, instance_id: str) -> dict[str, Any]:
        """Return what an instance is, its spaces, its `state`, and how many `steps` and `episodes` it has made."""
        return self._get(_path(instance_id, "/"))

    def reset_env(
        self, instance_id: str, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Start an episode; return its first `observation` and `info`, a dict."""
        asked = {"seed": seed, "options": options}
        return self._post(
            _path(instance_id, "/reset/"), {key: value for key, value in asked.items() if value is not None}
        )

    def step_env(self, instance_id: str, action: Any, render: bool = False) -> dict[str, Any]:
        """Take one action.

        Returns:
            `observation`; `reward`, a float; the bools `terminated`, `truncated` and `done` (either of them); `info`,
            a dict.

        Raises:
            ServerProblem: 400, the action lies outside the action space; 409, the instance needs a reset first; 410,
                the environment is lost; 502, it raised or died during the call; 504, it took too long.
        """
        body = {"action": action, "render": True} if render else {"action": action}
        return self._post(_path(instance_id, "/step/"), body)

    def get_action_space(self, instance_id: str) -> dict[str, Any]:
        """Return the action space: `name`, and what such a space has (`n`, `shape`, `low`, `high`, `dtype`, …)."""
        space: dict[str, Any] = self._get(_path(instance_id, "/action_space/"))["info"]
        return space

    def get_observation_space(self, instance_id: str) -> dict[str, Any]:
        """Return the observation space: `name`, and what such a space has (`n`, `shape`, `low`, `high`, `dtype`, …)."""
        space: dict[str, Any] = self._get(_path(instance_id, "/observation_space/"))["info"]
        return space

    def sample_action(self, instance_id: str) -> Any:
        """Return a random action. It moves the generator that `seed` of `create_env` started."""
        return self._get(_path(instance_id, "/action_space/sample"), repeatable=False)["action"]

    def action_space_contains(self, instance_id: str, action: Any) -> bool:
        """Return whether `step_env` would take `action`."""
        reply = self._post(_path(instance_id, "/action_space/contains"), {"action": action}, repeatable=True)
        return bool(reply["member"])

    def observation_space_contains(self, instance_id: str, observation: Any) -> bool:
        """Return whether the observation space contains `observation`."""
        path = _path(instance_id, "/observation_space/contains")
        return bool(self._post(path, {"observation": observation}, repeatable=True)["member"])

    def render_env(self, instance_id: str, media_type: str = PNG) -> bytes:
        """Return the current frame as a file of `media_type`: `image/png`, `image/jpeg` or, for `ansi`, `text/plain`.

        Raises:
            ServerProblem: 406, the render mode cannot give that type; 409, the instance has no frame to give.
        """
        return self._transport.exchange("GET", _path(instance_id, "/render/"), accept=media_type, repeatable=True)

    def close_env(self, instance_id: str) -> None:
        """Close the environment and forget the instance."""
        self._post(_path(instance_id, "/close/"), None)

    def shutdown_server(self) -> None:
        """Stop the server: it finishes the requests under way and closes every environment."""
        self._post("/v1/shutdown/", None)

    def get_health(self) -> dict[str, Any]:
        """Return `status` (`ok`), `version`, `engine` and `instances`, the number of live ones."""
        return self._get("/v1/health/")

    def _get(self, path: str, *, repeatable: bool = True) -> dict[str, Any]:
        return _members(self._transport.exchange("GET", path, repeatable=repeatable))

    def _post(self, path: str, body: dict[str, Any] | None, *, repeatable: bool = False) -> dict[str, Any]:
        content = None if body is None else json_body(body)
        return _members(self._transport.exchange("POST", path, content, repeatable=repeatable))


def _path(instance_id: str, rest: str) -> str:
    return f"/v1/envs/{quote(instance_id, safe='')}{rest}"


def _members(content: bytes) -> dict[str, Any]:
    try:
        members = orjson.loads(content)
    except orjson.JSONDecodeError:
        members = None
    if not isinstance(members, dict):
        raise ServerProblem(200, "about:blank", "Unexpected reply", "what answers there is not a gym-http-server")
    return members
