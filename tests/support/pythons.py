"""Other Pythons: virtual environments of this one, each with a version of a tiny package `clash` that registers environments."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

CLASH = """
import os

import gymnasium
import numpy as np

VERSION = {version!r}
IMPORTED_BY = os.getpid()


class Clash(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)
    metadata = {{"render_modes": []}}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.random(2, np.float32), {{"version": VERSION, "imported_by": IMPORTED_BY}}

    def step(self, action):
        return self.np_random.random(2, np.float32), float(action), False, False, {{"version": VERSION}}


for name in ("Clash-v0", *{only!r}):
    gymnasium.register(name, Clash, max_episode_steps=10)
"""


def make_python(directory: Path, version: str, *only: str) -> str:
    """Make a Python that has numpy, gymnasium and a version of `clash`; return its path.

    Args:
        directory: where to make it.
        version: the version.
        only: ids that this version registers besides `Clash-v0`.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(directory)], check=True)
    [packages] = (directory / "lib").glob("python*/site-packages")
    # What is here is found there; `clash` is only there.
    (packages / "shared.pth").write_text(sysconfig.get_paths()["purelib"])
    (packages / "clash.py").write_text(CLASH.format(version=version, only=only))
    return str(directory / "bin" / "python")
