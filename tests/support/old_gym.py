"""`load_results` of gym 0.9.7 itself: its source is unpacked by CI, and run without the rest of that library.

As a program: `python -m tests.support.old_gym SOURCE DIRECTORY` prints what it returns of a directory as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

VARIABLE = "GYM_0_9_7"
"""The environment variable that names the directory where `gym-0.9.7.tar.gz` is unpacked."""


def source() -> Path | None:
    """Return where the source is, if it is there."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def load(directory: Path) -> dict[str, Any]:
    """Return what `load_results` of gym 0.9.7 returns of a directory, in a process of its own."""
    command = [sys.executable, "-m", "tests.support.old_gym", str(source()), str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _load_here(gym: Path, directory: str) -> dict[str, Any]:
    # The packages' own __init__ import what Python has no more; their modules are those of the source.
    for name, path in (("gym", gym), ("gym.wrappers", gym / "wrappers"), ("gym.utils", gym / "utils")):
        package = types.ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package
    sys.modules["gym"].Wrapper = object
    monitoring = types.ModuleType("gym.wrappers.monitoring")
    monitoring.stats_recorder = monitoring.video_recorder = None
    sys.modules["gym.wrappers.monitoring"] = monitoring
    for name in ("atomic_write", "closer", "json_utils"):
        module = types.ModuleType(f"gym.utils.{name}")
        module.Closer = lambda: None
        module.json_encode_np = None
        sys.modules[module.__name__] = module
        setattr(sys.modules["gym.utils"], name, module)
    sys.modules["gym.logger"] = types.ModuleType("gym.logger")
    sys.modules["gym.logger"].debug = sys.modules["gym.logger"].error = lambda *_: None
    sys.modules["six"] = types.ModuleType("six")
    from gym.wrappers.monitor import load_results

    return load_results(directory)


if __name__ == "__main__":
    print(json.dumps(_load_here(Path(sys.argv[1]) / "gym", sys.argv[2])))  # noqa: T201 -- what is asked for
