"""Missing packages: which package contains a module, the pip command that installs it, and the error that says so.

For a module that is not in the table no package is advised: it may be a user's own file.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, Final

from ...errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    "s3fs": "s3fs>=2024.6",
    "schemathesis": "schemathesis>=4.0",
    "shimmy": "shimmy",
    "torch": "gymnasium[torch]>=1.1",
}
"""The requirement to install, by top-level module; versions as in `pyproject.toml`."""


KNOWN_MESSAGES: Final[Mapping[str, tuple[str, str]]] = {
    # Gymnasium still registers the moved ids, with entry points that raise this.
    "moved to the gymnasium-robotics project": ("gymnasium-robotics[mujoco-py]", "--import gymnasium_robotics"),
    # Current MuJoCo refuses Gymnasium's Pusher-v4, and gym's Hopper-v4, Walker2d-v4 and Swimmer-v4.
    "only supported on `mujoco<3`": ("mujoco<3", ""),
    "global coordinates no longer supported": ("mujoco<=2.3.3", ""),
    "unrecognized attribute: 'collision'": ("mujoco<=2.3.3", ""),
}
"""By part of an error text that names no module: the requirement to install, and an option to start the server with."""


def requirement_of(module: str) -> str | None:
    """Return the requirement that installs a module, or None if it is unknown."""
    return REQUIREMENTS.get(module.partition(".")[0])


def package_of(requirement: str) -> str:
    """Return a requirement without its minimum or exact version. An upper bound stays, because it is needed."""
    return re.split(r">=|==", requirement)[0]


def pip_command(*requirements: str, python: str = "python") -> str:
    """Return the shell command that installs requirements.

    Args:
        *requirements: pip requirements.
        python: the interpreter. Clients must not see the path of the server's own.
    """
    return f"{shlex.quote(python)} -m pip install {' '.join(map(shlex.quote, requirements))}"


def missing_module(module: str, directory: str) -> str:
    """Return the error text for a missing module that is not in the table.

    Args:
        module: its dotted name.
        directory: a name, for the reader, of the directory that a user's own module would be in.
    """
    return f"no module named {module} on the server: is {module.replace('.', '/')}.py in {directory}, or its package installed?"


def is_missing_dependency(error: BaseException) -> bool:
    """Return whether an error is an `ImportError` or the libraries' `DependencyNotInstalled`."""
    return isinstance(error, ImportError) or type(error).__name__ == "DependencyNotInstalled"


def missing(what: str, error: BaseException, **facts: Any) -> MissingDependencyError:
    """Return the error for a package that is not installed, with the pip command if it is known.

    Args:
        what: the environment or wrapper that needs the package.
        error: the exception that was raised (see `is_missing_dependency`).
        facts: further members of the error.
    """
    # Libraries that raise their own error keep the ImportError as its cause or context.
    causes = [cause for cause in (error, error.__cause__, error.__context__) if isinstance(cause, ImportError)]
    module = next((cause.name for cause in causes if isinstance(cause, ModuleNotFoundError) and cause.name), None)
    if module is None and (named := re.search(r"No module named '([\w.]+)'", str(error))):
        module = named[1]  # gym's MuJoCo keeps only the text of the ImportError
    # OpenCV is installed but a system library such as libGL is not: the ImportError has a path.
    broken = (
        None if module is not None else next((cause for cause in causes if cause.path and cause.name == "cv2"), None)
    )
    if broken is not None:
        module = broken.name
    requirement, option = None if module is None else requirement_of(module), ""
    if module is None and (found := known_message(error)) is not None:
        requirement, option = found
    if broken is not None:
        text = f"{what} needs a package that cannot be loaded: {broken}"
    elif module is not None and requirement is None:
        return MissingDependencyError(f"{what}: {missing_module(module, 'its working directory')}", **facts)
    else:
        version = " in a version" if requirement is not None and "<" in requirement else ""
        text = f"{what} needs a package{version} that is not installed: {error}"
    if requirement is None:
        return MissingDependencyError(text, **facts)
    package = package_of(requirement)
    # gym advises gym[box2d], which no longer builds; Gymnasium's advice is right.
    if f'pip install "{package}"' not in str(error):
        text += f"; install it with: {pip_command(requirement)}"
    if option:
        text += f", and start the server with {option}"
    return MissingDependencyError(text, package=package, **facts)


def known_message(error: BaseException) -> tuple[str, str] | None:
    """Return the entry of `KNOWN_MESSAGES` for an error, or None."""
    text = str(error)
    return next((advice for message, advice in KNOWN_MESSAGES.items() if message in text), None)
