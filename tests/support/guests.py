"""Interpreters for tests: the one that runs them, with packages of its own in a directory, and commands that inherit nothing."""

from __future__ import annotations

import sys
from pathlib import Path

from gym_http_server.runtime.messages import Interpreter

OWN = Interpreter("own", ("self",))
"""The Python of the tests, spawned."""

OLD_GYM = '''
"""The interface of gym 0.21, as far as environments and their users see it."""
import importlib

__version__ = "0.21.0"


class Env:
    metadata = {"render.modes": []}
    spec = None

    @property
    def unwrapped(self):
        return self

    def seed(self, seed=None):
        return [seed]

    def close(self):
        pass


class Wrapper(Env):
    def __init__(self, env):
        self.env = env

    def __getattr__(self, name):
        return getattr(self.env, name)

    @property
    def unwrapped(self):
        return self.env.unwrapped

    def reset(self, **kwargs):
        return self.env.reset(**kwargs)

    def step(self, action):
        return self.env.step(action)

    def render(self, mode="human", **kwargs):
        return self.env.render(mode, **kwargs)

    def seed(self, seed=None):
        return self.env.seed(seed)


def register(id, entry_point, **given):
    from gym.envs.registration import EnvSpec, registry

    registry.env_specs[id] = EnvSpec(id, entry_point, **given)


def make(id, **kwargs):
    from gym.envs.registration import registry
    from gym.wrappers import TimeLimit

    spec = registry.env_specs[id]
    module, _, name = spec.entry_point.partition(":")
    env = getattr(importlib.import_module(module), name)(**{**spec._kwargs, **kwargs})
    return env if spec.max_episode_steps is None else TimeLimit(env, spec.max_episode_steps)


import gym.spaces  # noqa
'''

OLD_REGISTRATION = """
class EnvSpec:
    def __init__(self, id, entry_point, max_episode_steps=None, reward_threshold=None, nondeterministic=False, kwargs=None):
        self.id, self.entry_point, self.max_episode_steps = id, entry_point, max_episode_steps
        self.reward_threshold, self.nondeterministic, self._kwargs = reward_threshold, nondeterministic, kwargs or {}


class Registry:
    def __init__(self):
        self.env_specs = {}


registry = Registry()
"""

OLD_WRAPPERS = """
import gym


class TimeLimit(gym.Wrapper):
    def __init__(self, env, max_episode_steps):
        super().__init__(env)
        self._max_episode_steps, self._elapsed = max_episode_steps, 0

    def reset(self, **kwargs):
        self._elapsed = 0
        return self.env.reset(**kwargs)

    def step(self, action):
        observation, reward, done, info = self.env.step(action)
        self._elapsed += 1
        if self._elapsed >= self._max_episode_steps:
            info["TimeLimit.truncated"] = not done
            done = True
        return observation, reward, done, info
"""

OLD_SPACES = """
import numpy as np


class Space:
    def __init__(self, shape=None, dtype=None):
        self.shape, self.dtype = shape, np.dtype(dtype)

    def contains(self, value):
        return True


class Discrete(Space):
    def __init__(self, n):
        super().__init__((), np.int64)
        self.n = n


class Box(Space):
    def __init__(self, low, high, shape, dtype=np.float32):
        super().__init__(shape, dtype)
        self.low, self.high = np.full(shape, low, dtype), np.full(shape, high, dtype)


class MultiDiscrete(Space):
    def __init__(self, nvec):
        self.nvec = np.asarray(nvec, np.uint32)
        super().__init__(self.nvec.shape, np.int8)


class MultiBinary(Space):
    def __init__(self, n):
        self.n = n
        super().__init__((n,), np.int8)


class Tuple(Space):
    def __init__(self, spaces):
        self.spaces = spaces
        super().__init__(None, None)


class Dict(Space):
    def __init__(self, spaces):
        self.spaces = spaces
        super().__init__(None, None)
"""

OLD_ENVIRONMENTS = '''
import enum
import os
import random

import gym
import numpy as np
from gym import spaces


class Old(gym.Env):
    """Without seed, metadata or info, and with four values."""

    metadata = None
    observation_space = spaces.Discrete(9)
    action_space = spaces.Discrete(2)

    def reset(self):
        self.count = 0
        return 0

    def step(self, action):
        self.count += 1
        return self.count, 1.0, action == 1, {}


class Seeded(Old):
    metadata = {"render.modes": ["human", "rgb_array"]}

    def __init__(self, size=2):
        self.size = size
        self.random = np.random.RandomState()

    def seed(self, seed=None):
        self.random = np.random.RandomState(seed)
        return [seed]

    def reset(self):
        super().reset()
        return int(self.random.randint(9))

    def render(self, mode="human"):
        assert mode == "rgb_array", mode
        return np.full((self.size, self.size, 3), 7, np.uint8)


class Played(Old):
    """A game.

    It has two moves.
    """

    def get_keys_to_action(self):
        return {(): 0, (ord("a"), 276): np.int64(1), "b": 5}

    def get_action_meanings(self):
        return ["NOOP", "FIRE"]


class Named(Old):
    actions = enum.IntEnum("Actions", [("left", 0), ("right", 1)])

    def get_keys_to_action(self):
        os._exit(3)


class Unseeded(Old):
    def seed(self):
        raise AssertionError("it takes no seed")


class Spaces(Old):
    metadata = None
    observation_space = spaces.Dict({
        "box": spaces.Box(-1, 1, (2, 3)), "many": spaces.MultiDiscrete([3, 300]), "bits": spaces.MultiBinary(4),
        "pair": spaces.Tuple((spaces.Discrete(2), spaces.Box(0, 255, (2, 2), np.uint8))),
    })

    def reset(self):
        return {"box": np.zeros((2, 3), np.float32), "many": np.array([1, 299]), "bits": np.zeros(4, np.int8),
                "pair": (1, np.ones((2, 2), np.uint8))}

    def step(self, action):
        return self.reset(), np.float32(0.5), np.bool_(False), {"text": "a", "array": np.arange(3), "any": {1, 2}, "pid": os.getpid()}


gym.register("Old-v0", entry_point="old_environments:Old")
gym.register("Seeded-v0", entry_point="old_environments:Seeded", max_episode_steps=3, reward_threshold=5.0)
gym.register("Played-v0", entry_point="old_environments:Played")
gym.register("Named-v0", entry_point="old_environments:Named")
gym.register("Unseeded-v0", entry_point="old_environments:Unseeded")
gym.register("Spaces-v0", entry_point="old_environments:Spaces")
'''


def old_gym(directory: Path) -> Interpreter:
    """Return an interpreter that has the interface of gym 0.21 and `old_environments` in a directory."""
    files = {
        "gym/__init__.py": OLD_GYM,
        "gym/envs/__init__.py": "",
        "gym/envs/registration.py": OLD_REGISTRATION,
        "gym/wrappers.py": OLD_WRAPPERS,
        "gym/spaces/__init__.py": "from gym.spaces.space import *",
        "gym/spaces/space.py": OLD_SPACES,
        "old_environments.py": OLD_ENVIRONMENTS,
    }
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return with_packages("old", directory, "old_environments")


def with_packages(name: str, directory: Path, *imports: str, may_fork: bool = False) -> Interpreter:
    """Return the Python of the tests with a directory of packages before its own."""
    return Interpreter(name, ("/usr/bin/env", f"PYTHONPATH={directory}", sys.executable), imports, may_fork)


TROUBLE = '''
"""Environments that misbehave in each way that a guest can."""
import os
import signal
import sys
import threading
import time

import gymnasium
import numpy as np

here = os.path.dirname(__file__)
with open(os.path.join(here, "imports"), "a") as file:
    file.write("once\\n")
while os.path.exists(os.path.join(here, "hang")):
    time.sleep(0.01)
if os.path.exists(os.path.join(here, "threads")):
    threading.Thread(target=threading.Event().wait, daemon=True).start()


def write_to_the_server(data):
    """Write to every socket and pipe above the standard ones, as code that guesses the server's would."""
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, data)
        except OSError:
            pass


class Trouble(gymnasium.Env):
    observation_space = gymnasium.spaces.Discrete(2)
    action_space = gymnasium.spaces.Text(1000, min_length=0, charset="abcdefghijklmnopqrstuvwxyz0123456789 ")
    kept = None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return 0, {"pid": os.getpid(), "parent": os.getppid()}

    def step(self, action):
        if action == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif action == "exit":
            print("these are my last words", flush=True)
            os._exit(7)
        elif action == "hang":
            time.sleep(3600)
        elif action == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        elif action == "print":
            print("a line on stdout")
            os.system("echo a line of a program")
        elif action == "fill":
            sys.stderr.write("x" * 79 + "\\n")
            sys.stderr.write(("y" * 79 + "\\n") * 20000)
        elif action == "memory":
            self.kept = np.ones(30_000_000)
            time.sleep(3600)
        elif action.startswith("rubbish "):
            write_to_the_server(bytes.fromhex(action.split()[1]))
        elif action == "raise":
            raise LookupError("no such thing")
        return 1, 1.0, False, False, {}


gymnasium.register("Trouble-v0", Trouble)
'''


def trouble(directory: Path, *, may_fork: bool = False) -> Interpreter:
    """Return an interpreter that has the module `guest_trouble`, of a directory, and has imported it."""
    (directory / "guest_trouble.py").write_text(TROUBLE)
    return with_packages("trouble", directory, "guest_trouble", may_fork=may_fork)
