"""Environments that misbehave, or that have spaces and values which no environment of a library has.

The server imports this module where a test names it with `--import`.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import ctypes
import gc
import itertools
import logging
import mmap
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from gym_http_server.runtime.shared.usage import CELLS

STOP = signal.SIGKILL


class Troublemaker(gymnasium.Env[Any, Any]):
    """Does what its action says; observes how many steps it took. `kwargs` may have its constructor misbehave."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 -- Gymnasium's convention
    observation_space = spaces.Discrete(1_000_000)
    action_space = spaces.Text(max_length=200, min_length=0, charset="abcdefghijklmnopqrstuvwxyz0123456789_ .-")

    def __init__(self, construct: str = "", render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self._close = ""
        # Instances in one process would share what they sample from.
        self.action_space = copy.deepcopy(self.action_space)
        self.steps = 0
        self._kept: list[bytes] = []
        self._act(construct)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if options:
            raise KeyError(f"unknown options {sorted(options)}")
        self.steps = 0
        return 0, {}

    def step(self, action: str) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        info = self._act(action)
        return self.steps, 1.0, False, False, info

    def render(self) -> Any:
        return np.zeros((4, 6, 3), np.uint8)

    def close(self) -> None:
        self._act(self._close)

    def _act(self, action: str) -> dict[str, Any]:  # noqa: C901, PLR0912, PLR0915 -- a table of misdeeds
        match action.split():
            case ["exit", code]:
                sys.stderr.write("last words of the environment\n")
                os._exit(int(code))
            case ["close_by", *words]:
                self._close = " ".join(words)
            case ["abort"]:
                os.abort()
            case ["segfault"]:
                ctypes.string_at(0)
            case ["hang"]:
                while True:
                    time.sleep(3600)
            case ["hang_uninterruptibly"]:
                for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(each, signal.SIG_IGN)
                while True:
                    pass
            case ["leave_running"]:
                if os.fork() == 0:  # with all that this process holds
                    time.sleep(3600)
                    os._exit(0)
                os.system(f"{sys.executable} -c 'import time; time.sleep(3600)' &")  # noqa: S605 -- an environment that leaves a program running
            case ["asyncio", seconds]:
                asyncio.run(asyncio.sleep(float(seconds)))
            case ["sleep", seconds]:
                time.sleep(float(seconds))
            case ["await"]:
                gate = gate_of(os.getpid())
                while not gate.exists():
                    time.sleep(0.005)
                gate.unlink()
            case ["raise", *words]:
                raise ValueError(" ".join(words))
            case ["sys_exit"]:
                sys.exit(3)
            case ["spawn"]:
                child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
                return {"child": child.pid}
            case ["spawn_session"]:
                child = subprocess.Popen(
                    [sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True
                )
                return {"child": child.pid}
            case ["spawn_quiet"]:
                nothing = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
                return {"child": subprocess.Popen(["/bin/sleep", "3600"], start_new_session=True, **nothing).pid}
            case ["spawn_daemon"]:
                program = f"{sys.executable} -c 'import os, time; os.setsid(); time.sleep(3600)'"
                start = f"{program} >/dev/null 2>&1 </dev/null & echo $!"
                return {"child": int(subprocess.check_output(["/bin/sh", "-c", start]))}
            case ["fork_quiet"]:
                child = os.fork()
                if child == 0:
                    os.setsid()
                    os.closerange(0, 1000)
                    time.sleep(3600)
                    os._exit(0)
                return {"child": child}
            case ["print", count]:
                for index in range(int(count)):
                    print(f"line {index}")  # noqa: T201 -- an environment that prints
            case ["print_for_ever", what]:
                piece = {"lines": b"a line\n" * 8000, "one_line": b"x" * 65536, "binary": bytes(range(256)) * 256}[what]
                descriptor = itertools.cycle((1, 2))
                threading.Thread(target=lambda: [os.write(each, piece) for each in descriptor], daemon=True).start()
            case ["read"]:
                return {"read": sys.stdin.read()}
            case ["close_descriptors"]:
                os.closerange(3, 100)
            case ["pid"]:
                return {"pid": os.getpid(), "variables": [k for k in os.environ if k.startswith("GYM_HTTP_SERVER")]}
            case ["random"]:
                return {"numpy": float(np.random.random()), "pid": os.getpid()}
            case ["weird_info"]:
                return weird_info()
            case ["grow", megabytes]:
                self._kept.append(b"x" * (int(megabytes) << 20))
            case ["grow_child", megabytes]:
                code = f"kept = b'x' * ({megabytes} << 20); import time; time.sleep(3600)"
                return {"child": subprocess.Popen([sys.executable, "-c", code]).pid}
            case ["grow_orphan", megabytes]:
                code = f"kept = b'x' * ({megabytes} << 20); import time; time.sleep(3600)"
                start = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {code!r}], start_new_session=True)"
                subprocess.run([sys.executable, "-c", start], check=True)
            case ["grow_daemon", megabytes]:
                code = f"import os, time; os.setsid(); kept = b'x' * ({megabytes} << 20); time.sleep(3600)"
                start = f'{sys.executable} -c "$0" >/dev/null 2>&1 </dev/null &'
                subprocess.run(["/bin/sh", "-c", start, code], check=True)
            case ["grow_shared", megabytes]:
                self._kept.append(b"x" * (int(megabytes) << 20))
                for _ in range(2):
                    if os.fork() == 0:  # with all that this process holds
                        time.sleep(3600)
                        os._exit(0)
            case ["grow_later", megabytes]:
                threading.Timer(0.1, self._act, [f"grow {megabytes}"]).start()
            case ["chdir"]:
                os.chdir("/")
            case ["signals"]:
                for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                    signal.signal(each, signal.SIG_IGN)
            case ["threads"]:
                for _ in range(4):
                    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
            case ["spawn_in_thread"]:
                found: list[int] = []
                thread = threading.Thread(target=lambda: found.append(self._act("spawn_session")["child"]))
                thread.start()
                thread.join()
                return {"child": found[0]}
            case ["warn"]:
                warnings.warn("a warning of the environment", stacklevel=2)
                logging.getLogger("troublemaker").error("an error of the environment")
                sys.stderr.write("a word of the environment\n")
            case ["descriptors"]:
                return {"descriptors": {path.name: str(path.readlink()) for path in open_files("fd")}}
            case ["stop_itself"]:
                os.kill(os.getpid(), signal.SIGSTOP)
            case ["stop_later"]:
                threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGSTOP)).start()
            case ["keep_interpreter"]:
                threading.Timer(0.2, ctypes.PyDLL(None).sleep, (3600,)).start()  # with the GIL
            case ["scribble", pattern]:
                for each in gc.get_objects():
                    if isinstance(each, mmap.mmap):
                        each[:] = (bytes.fromhex(pattern) * len(each))[: len(each)]
            case ["pretend_to_begin"]:
                # The usage is what the memory begins with; of any other time than this no call lasts too long.
                [memory] = [each for each in gc.get_objects() if isinstance(each, mmap.mmap)]
                while True:
                    memory[: 8 * CELLS] = struct.pack("=d", time.monotonic()) * CELLS
                    time.sleep(0.001)
            case ["truncate_memory"]:
                return {"truncated": [truncate(path) for path in shared_memory()]}
            case ["oom"]:
                return {"oom": int(Path("/proc/self/oom_score_adj").read_text())}
            case ["variables"]:
                return {"all_variables": dict(os.environ)}
            case ["big", size]:
                return {"big": "x" * int(size)}
        return {}


def gate_of(pid: int) -> Path:
    """Return the file that the action `await` of a process waits for."""
    return Path(tempfile.gettempdir()) / f"gym-http-server-tests-gate-{pid}"


class Forger(Troublemaker):
    """Writes the bytes of its actions to the socket that its process has to the server, then does what it is told to."""

    action_space = spaces.Text(max_length=1 << 22, min_length=0, charset="abcdefghijklmnopqrstuvwxyz0123456789_ .-")

    def _act(self, action: str) -> dict[str, Any]:
        match action.split():
            case ["forge", forged, *then]:
                # With all that it is told to do at a time it may be faster than the server, which then waits for the rest.
                channel().sendall(bytes.fromhex(forged.removeprefix("x")))
                return super()._act(" ".join(then))
            case ["half"]:
                # The head of the frame that gives a connection back, after the reply to this step.
                threading.Timer(0.2, channel().sendall, (struct.pack("<BQ", 7, 1000),)).start()
            case ["flood", forged, *_]:
                with contextlib.suppress(OSError):
                    while True:
                        channel().sendall(bytes.fromhex(forged) * 1000)
        return super()._act(action)


def channel() -> socket.socket:
    """Return another handle on the socket that this process has to the server, its first one."""
    number = min(int(path.name) for path in open_files("fd") if str(path.readlink()).startswith("socket:"))
    return socket.socket(fileno=os.dup(number))


def open_files(*folders: str) -> list[Path]:
    """Return what this process has in folders of its own in /proc, without what the listing itself took."""
    return [path for folder in folders for path in Path("/proc/self", folder).iterdir() if os.path.lexists(path)]


def shared_memory() -> list[Path]:
    """Return the ways to open what this process shares with the server: by its descriptors, and by what it has mapped."""
    return [path for path in open_files("fd", "map_files") if str(path.readlink()).startswith("/memfd:gym-http-server")]


def truncate(path: Path) -> str:
    """Make a file empty; return what the system said where it refused."""
    try:
        os.truncate(path, 0)
    except OSError as error:
        return error.strerror
    return "done"


def weird_info() -> dict[str, Any]:
    """Return an info with values that JSON does not have."""
    return {
        "nan": float("nan"),
        "inf": float("inf"),
        "minus_inf": np.float32("-inf"),
        "array": np.array([1.5, np.nan, np.inf], np.float64),
        "scalar": np.int16(7),
        "bool": np.bool_(True),
        "complex": 1 + 2j,
        "bytes": b"raw",
        "set": {3},
        "object": object,
        7: "a key that is a number",
        "huge": 2**70,
        "nested": {"tuple": (1, (2.0, None))},
    }


class Everything(gymnasium.Env[Any, Any]):
    """Has a space of every kind as its action space and observes the action it was given."""

    action_space = spaces.Dict(
        {
            "box": spaces.Box(-1, 1, (2, 3), np.float32),
            "unbounded": spaces.Box(-np.inf, np.inf, (2,), np.float64),
            "bytes": spaces.Box(0, 255, (2, 2, 3), np.uint8),
            "discrete": spaces.Discrete(5, start=-2),
            "multi_discrete": spaces.MultiDiscrete([[3, 4], [5, 6]]),
            "multi_binary": spaces.MultiBinary([2, 2]),
            "text": spaces.Text(8, charset="abcä"),
            "tuple": spaces.Tuple((spaces.Discrete(2), spaces.Box(0, 1, (1,), np.float32))),
            "dict": spaces.Dict({"inner": spaces.Dict({"deep": spaces.Discrete(3)})}),
            "sequence": spaces.Sequence(spaces.Discrete(4)),
            "graph": spaces.Graph(spaces.Box(-1, 1, (2,), np.float32), spaces.Discrete(3)),
            "one_of": spaces.OneOf((spaces.Discrete(2), spaces.Box(0, 1, (2,), np.float32))),
        }
    )
    observation_space = action_space

    def __init__(self) -> None:
        self.action_space = copy.deepcopy(self.action_space)
        self.observation_space = copy.deepcopy(self.observation_space)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        return action, float("nan"), False, False, {}


gymnasium.register("tests/Troublemaker-v0", lambda **kwargs: Troublemaker(**kwargs))
gymnasium.register("tests/Everything-v0", lambda **kwargs: Everything(**kwargs))
gymnasium.register("tests/Short-v0", lambda **kwargs: Troublemaker(**kwargs), max_episode_steps=3)


class Scribe(gymnasium.Env[Any, Any]):
    """Ends an episode with every third step, and writes all its observations into the same arrays."""

    observation_space = spaces.Dict(
        {
            "at": spaces.Box(-np.inf, np.inf, (2,), np.float32),
            "both": spaces.Tuple((spaces.Discrete(100), spaces.MultiBinary(2))),
            "word": spaces.Text(9, charset="steps 0123456789"),
            "graph": spaces.Graph(spaces.Box(0, 9, (1,), np.float32), None),
        }
    )

    def __init__(self) -> None:
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self._at, self._bits = np.zeros(2, np.float32), np.zeros(2, np.int8)
        self._nodes = np.zeros((1, 1), np.float32)
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._steps = 0
        self._at[:] = self.np_random.random(2)
        return self._observed(), {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self._steps += 1
        self._at += action
        ended = self._steps == 3
        return (
            self._observed(),
            np.float32(0.1),
            np.bool_(ended),
            False,
            {"steps": self._steps, "word": "x" * self._steps},
        )

    def _observed(self) -> dict[str, Any]:
        self._bits[:] = self._steps % 2
        self._nodes[:] = self._steps
        return {
            "at": self._at,
            "both": (self._steps, self._bits),
            "word": f"steps {self._steps}",
            "graph": spaces.GraphInstance(self._nodes, None, None),
        }


class Words(Scribe):
    """Observes no Graph."""

    observation_space = spaces.Dict({"at": Scribe.observation_space["at"], "word": Scribe.observation_space["word"]})

    def _observed(self) -> dict[str, Any]:
        return {"at": self._at, "word": f"steps {self._steps}"}


class Jax:
    """An array as another library has it."""

    def __init__(self, array: Any) -> None:
        self.array = np.asarray(array)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.array, dtype)


class OwnBatch(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """A vector implementation with arrays of another library, which does not tell its autoreset mode."""

    def __init__(self, num_envs: int, reward: str = "float32", **metadata: Any) -> None:
        self.num_envs = num_envs
        self.metadata = metadata
        self.single_action_space, self.single_observation_space = (
            spaces.Discrete(3),
            spaces.Box(0, 99, (2,), np.float32),
        )
        self.action_space = gymnasium.vector.utils.batch_space(self.single_action_space, num_envs)
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)
        self._reward = reward

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        return Jax(np.full((self.num_envs, 2), 7, np.float32)), {"seed": seed, "options": options}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        rewards = np.asarray(actions).astype(self._reward) / np.array(2).astype(self._reward)
        ended = Jax(np.asarray(actions) == 2)
        return (
            Jax(np.ones((self.num_envs, 2), np.float32)),
            Jax(rewards.astype(self._reward)),
            ended,
            ended,
            {"a": Jax(actions)},
        )


class OwnBatchRaising(OwnBatch):
    """Raises where a lane takes the action 2."""

    def step(self, actions: Any) -> Any:
        if 2 in actions:
            raise RuntimeError("two is too much")
        return super().step(actions)


gymnasium.register("tests/Scribe-v0", Scribe)
gymnasium.register("tests/Words-v0", Words)
gymnasium.register("tests/OwnBatch-v0", vector_entry_point=OwnBatch)
gymnasium.register("tests/OwnBatchRaising-v0", vector_entry_point=OwnBatchRaising)
gymnasium.register(
    "tests/Wrapped-v0",
    lambda **kwargs: Troublemaker(**kwargs),
    vector_entry_point=OwnBatch,
    additional_wrappers=(gymnasium.wrappers.ClipReward.wrapper_spec(min_reward=0.0, max_reward=0.5),),
)


class Greedy(Troublemaker):
    """Takes memory as it is made, and some time to think about it."""

    def __init__(self, megabytes: int, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        self._act(f"grow {megabytes}")
        time.sleep(30)


gymnasium.register("tests/Greedy-v0", lambda **kwargs: Greedy(**kwargs))


class Unpaintable(Troublemaker):
    """Has a render mode, and cannot render."""

    def render(self) -> Any:
        raise ValueError("no paint")


gymnasium.register("tests/Unpaintable-v0", lambda **kwargs: Unpaintable(**kwargs))


class Holder(Troublemaker):
    """Holds what cannot be copied."""

    def __init__(self, holds: str, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        makers = {
            "file": lambda: open(os.devnull),  # noqa: PTH123, SIM115 -- it stays open
            "generator": lambda: (each for each in ()),
            "thread": lambda: threading.Thread(target=time.sleep),
            "library": lambda: ctypes.CDLL(None),
        }
        self.held = [makers[holds]()]


class Beside(gymnasium.Env[Any, Any]):
    """Keeps its state beside itself: in its class, in its module, and in the random generators of the process."""

    observation_space = spaces.Box(-np.inf, np.inf, (5,), np.float64)
    action_space = spaces.Discrete(2)
    taken = 0
    rng = np.random.default_rng(3)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        return self._observed(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        Beside.taken += 1
        TAKEN.append(action)
        return self._observed(), float(sum(TAKEN)), False, False, {}

    def _observed(self) -> Any:
        return np.array([self.taken, len(TAKEN), self.rng.random(), random.random(), np.random.random()])


TAKEN: list[int] = []

gymnasium.register("tests/Forger-v0", lambda **kwargs: Forger(**kwargs))
gymnasium.register("tests/Holder-v0", lambda **kwargs: Holder(**kwargs))
gymnasium.register("tests/Beside-v0", Beside)
