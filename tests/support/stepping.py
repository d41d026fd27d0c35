"""Recordings of trajectories made in this process, and altered ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gym_http_server.results.trajectories import trajectory_files
from gym_http_server.runtime.messages import CreateRequest
from gym_http_server.runtime.recording.trajectories.file import ENVIRONMENT, TrajectoryFile, heads, read_record
from gym_http_server.runtime.recording.trajectories.values import unpack_columns
from gym_http_server.runtime.served.opening import open_served
from gym_http_server.runtime.values.codec import encode


def record_steps(
    directory: Path,
    env_id: str = "CartPole-v1",
    episodes: int = 2,
    *,
    kept: Any = True,
    seed: int | None = 7,
    options: dict[str, Any] | None = None,
    extra_steps: int = 0,
    **create: Any,
) -> Path:
    """Record episodes of random actions, of which the first has the seed, and the beginning of another one."""
    served = open_served(CreateRequest(env_id, **create), may_fork=False)
    space = served._environment.action_space
    space.seed(3)
    served.monitor_start(str(directory), trajectories=kept)
    for episode in range(episodes + bool(extra_steps)):
        served.reset(seed=None if episode else seed, options=options)
        is_over, steps = False, 0
        while not is_over and (episode < episodes or steps < extra_steps):
            is_over = b'"done":true' in served.step(encode(space, space.sample())).body
            steps += 1
    served.close()
    return directory


def alter(
    directory: Path,
    change: Callable[[dict[str, list[Any]]], None],
    environment: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> None:
    """Write the trajectories in a directory again, after a change of the columns of each block and of the environment."""
    for name in trajectory_files(directory):
        path = directory / name
        with path.open("rb") as file:
            records = [read_record(file, at) for at, _ in heads(file)]
        path.unlink()
        altered = TrajectoryFile(path, json.dumps(environment(json.loads(records[0][1]))).encode())
        for head, data in records[1:]:
            columns = unpack_columns(data)
            change(columns)
            altered.add(head.flags, head.lane, head.episode, head.steps, columns)
        altered.close()
        assert records[0][0].kind == ENVIRONMENT
