"""Which package has a module that is missing, and the pip command that installs it.

A module that is not in the table may be anybody's own file, or a package of any name: nothing is advised for it.
"""

from __future__ import annotations

import re
import shlex
from typing import Final

REQUIREMENTS: Final = {
    "Box2D": "gymnasium[box2d]>=1.1",
    "ale_py": "ale-py>=0.11",
    "av": "av>=17.1",
    "cv2": "opencv-python-headless>=4.10.0.84",  # opencv-python needs libGL, which servers lack
    "flax": "gymnasium[jax]>=1.1",
    "gcsfs": "gcsfs>=2024.6",
    "gym": "gym==0.26.2",
    "gymnasium_robotics": "gymnasium-robotics",
    "highway_env": "highway-env",
    "huggingface_hub": "huggingface_hub>=0.26",
    "hypothesis": "hypothesis>=6.120",
    "jax": "gymnasium[jax]>=1.1",
    "jaxlib": "gymnasium[jax]>=1.1",
    "jsonschema": "jsonschema>=4.18",
    "minigrid": "minigrid",
    "mujoco": "gymnasium[mujoco]>=1.1",
    "mujoco_py": "mujoco-py",
    "openapi_schema_validator": "openapi-schema-validator>=0.6",
    "pygame": "gymnasium[classic-control]>=1.1",
    "pytest": "pytest>=8.4",
    "requests": "requests>=2.32",
    "rich": "rich>=13.7",
    "s3fs": "s3fs>=2024.6",
    "schemathesis": "schemathesis>=4.0",
    "shimmy": "shimmy",
    "torch": "gymnasium[torch]>=1.1",
}
"""The requirement that pip is to install, by top-level module; those of `pyproject.toml` with the version named there."""


def requirement_of(module: str) -> str | None:
    """Return the requirement whose package has a module; None where that is not known."""
    return REQUIREMENTS.get(module.partition(".")[0])


def package_of(requirement: str) -> str:
    """Return a requirement without its minimum or exact version; an upper bound is part of what is needed."""
    return re.split(r">=|==", requirement)[0]


def pip_command(*requirements: str, python: str = "python") -> str:
    """Return the shell command that installs them.

    Args:
        *requirements: what to install.
        python: the interpreter; the server's own path is told to its operator only.
    """
    return f"{shlex.quote(python)} -m pip install {' '.join(map(shlex.quote, requirements))}"


def missing_module(module: str, directory: str) -> str:
    """Return the words for a missing module that is not in the table.

    Args:
        module: its dotted name.
        directory: where a file of the user's own would lie, as the reader may know it.
    """
    return f"no module named {module} on the server: is {module.replace('.', '/')}.py in {directory}, or its package installed?"
