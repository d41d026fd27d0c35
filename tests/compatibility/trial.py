"""What a row of the table does on a server, held against what it does in its package's own Python."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.utils.env_checker import check_env
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from gym_http_server.client import Client, RemoteEnv, RemoteVectorEnv
from gym_http_server.runtime.values.rendered_frame import as_uint8

from .compare import difference, is_type, value_of
from .local import LANES, SEED, is_over, plain
from .results import AS_LOCALLY, EQUAL, PASSED, short
from .table import Package

LOCAL_SECONDS = 300.0
PARTS = ("observation", "reward", "terminated", "truncated")

Local = dict[str, Any]


class LocalError(Exception):
    """An environment does not run in its package's own Python either; the text is the last line of its traceback."""


def run_locally(package: Package, env_id: str, python: str) -> Local:
    """Return what an environment does in its package's own Python.

    Raises:
        LocalError: it raised, or did less than it was to do.
    """
    row = {key: getattr(package, key) for key in ("imports", "library", "kwargs", "steps")}
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    # The server chooses it by itself.
    variables = {"MUJOCO_GL": "glfw" if os.environ.get("DISPLAY") else "egl", **variables, **package.variables}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "local.json"
        command = [python, str(Path(__file__).with_name("local.py")), json.dumps({"id": env_id, **row}), str(path)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=LOCAL_SECONDS, env=variables, cwd=directory
            )
        except subprocess.TimeoutExpired:
            raise LocalError(f"took longer than {LOCAL_SECONDS:.0f} s") from None
        if done.returncode != 0:
            raise LocalError(short((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]))
        document: Local = json.loads(path.read_text())
        if (len(document["steps"]), len(document["lanes"])) != (package.steps, LANES):
            raise LocalError(f"it made {len(document['steps'])} steps and {len(document['lanes'])} lanes")
        return document


def run_served(package: Package, env_id: str, url: str, local: Local) -> dict[str, str]:
    """Return the outcome of each part of a trial, by its name: what is well, or what differs or was raised."""
    arguments = {
        "render_mode": local["mode"],
        "library": package.library,
        **({"kwargs": package.kwargs} if package.kwargs else {}),
        **({"interpreter": package.slug} if package.interpreter else {}),
    }
    trial = _Trial(url, env_id, arguments, package.vectorization, local)
    parts: dict[str, Callable[[], str]] = {
        "steps": trial.steps,
        "frame": trial.frame,
        "check_env": trial.check_env,
        "batch": trial.batch,
    }
    outcomes = {name: _outcome(part) for name, part in parts.items()}
    if local["batch"] and outcomes["batch"] != EQUAL:
        outcomes["batch"] = short(f"{AS_LOCALLY}: {local['batch']}")
    left = Client(url).list_envs()
    outcomes["close"] = f"{len(left)} instances are left" if left else "closed"
    return outcomes


def _outcome(part: Callable[[], str]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return part()
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is the row's outcome
            return short(f"{type(error).__name__}: {error}")


class _Trial:
    def __init__(self, url: str, env_id: str, arguments: dict[str, Any], vectorization: str, local: Local) -> None:
        self._url, self._env_id, self._arguments, self._local = url, env_id, arguments, local
        self._vectorization = vectorization
        self._frame: Any = None
        self._frame_error = ""

    @contextmanager
    def _env(self) -> Iterator[RemoteEnv]:
        env = RemoteEnv(self._url, self._env_id, **self._arguments)
        try:
            yield env
        finally:
            env.close()

    def steps(self) -> str:
        """Reset with a seed and step with the actions of the local run."""
        found: dict[str, None] = {}

        def note(part: str, local: Any, served: Any) -> None:
            if text := difference(local, plain(served)):
                found[f"{part}: {text}"] = None

        with self._env() as env:
            note("first observation", self._local["observation"], env.reset(seed=SEED)[0])
            for number, step in enumerate(self._local["steps"]):
                values = env.step(value_of(step["action"]))
                for part, local, served in zip(PARTS, step["values"], values[:4], strict=True):
                    note(part, local, served)
                if (step["again"] is None) == is_over(*values[2:4]):
                    return f"step {number + 1} of {len(self._local['steps'])} ends the episode on one side only"
                if step["again"] is not None:
                    note("first observation", step["again"], env.reset(seed=number)[0])
            self._frame_error = "" if self._local["mode"] is None else _outcome(lambda: self._render(env))
        return "; ".join(found) or EQUAL

    def _render(self, env: RemoteEnv) -> str:
        self._frame = env.render()
        return ""

    def frame(self) -> str:
        """Compare the frame after the last step."""
        if self._local["mode"] is None:
            return "no render mode"
        if "frame_error" in self._local:
            return (
                short(f"{AS_LOCALLY}: {self._local['frame_error']}")
                if self._frame_error
                else "there is one, locally none"
            )
        if self._frame_error:
            return self._frame_error
        local = value_of(self._local["frame"])
        if isinstance(local, np.ndarray) and local.dtype != np.uint8:  # frames are bytes
            is_same = np.array_equal(as_uint8(local, self._local["mode"]), self._frame)
            return f"{EQUAL}, as uint8 instead of {local.dtype}" if is_same else "another value"
        return difference(self._local["frame"], plain(self._frame)) or EQUAL

    def check_env(self) -> str:
        """Run Gymnasium's `check_env` on a `RemoteEnv`."""
        with self._env() as env:
            try:
                check_env(env, skip_render_check=True)
            except Exception as error:  # noqa: BLE001 -- assertions of the checker, and what it runs into
                text, local = f"{type(error).__name__}: {error}", self._local["check_env"]
                if text == local:
                    return short(f"{AS_LOCALLY}: {text}")
                return short(text) + (short(f"; locally: {local}") if local else "")
        return PASSED

    def batch(self) -> str:
        """Reset a batch with a seed and step it once."""
        lanes = self._local["lanes"]
        mode = {"vectorization_mode": self._vectorization}
        batch = RemoteVectorEnv(self._url, self._env_id, LANES, **mode, **self._arguments)
        try:
            space = batch.single_action_space
            actions = [value_of(lane["action"]) for lane in lanes]
            observations = [batch.reset(seed=SEED)[0]]
            later, rewards = batch.step(concatenate(space, actions, create_empty_array(space, LANES)))[:2]
            observations.append(later)
            begun, after = (list(iterate(batch.observation_space, each)) for each in observations)
        finally:
            batch.close()
        for number, lane in enumerate(lanes):
            pairs = zip(
                ("first observation", "observation", "reward"),
                (lane["observation"], *lane["values"]),
                (begun[number], after[number], rewards[number]),
                strict=True,
            )
            for part, local, served in pairs:
                text = difference(local, plain(served))
                if text and not is_type(text):  # the arrays of batches have one type
                    return f"lane {number}: {part}: {text}"
        return EQUAL
