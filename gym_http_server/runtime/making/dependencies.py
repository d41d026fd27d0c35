"""Missing packages: which package contains a module or registers an id, the pip command that installs it, and the error.

For a module or an id that is not in a table no package is advised: it may be a user's own.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ...errors import MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUIREMENTS: Final = {
    "Box2D": "gymnasium[box2d]>=1.2.3",
    "ale_py": "ale-py>=0.12",
    "av": "av>=17.1",
    "cv2": "opencv-python-headless>=4.10.0.84",  # opencv-python needs libGL, which servers lack
    "flax": "gymnasium[jax]>=1.1",
    "gcsfs": "gcsfs>=2024.6",
    "gym": "gym==0.26.2",
    "h5py": "minari[hdf5]>=0.5.4",
    "huggingface_hub": "huggingface_hub>=0.26",
    "hypothesis": "hypothesis>=6.120",
    "jax": "gymnasium[jax]>=1.1",
    "jaxlib": "gymnasium[jax]>=1.1",
    "jsonschema": "jsonschema>=4.18",
    "minari": "minari[hdf5]>=0.5.4",
    "mcp": "mcp>=2.0,<3",
    "mujoco": "gymnasium[mujoco]>=1.1",
    "mpe2": "mpe2",
    "mujoco_py": "mujoco-py",
    "multi_agent_ale_py": "pettingzoo[atari]",
    "openapi_schema_validator": "openapi-schema-validator>=0.6",
    "pyarrow": "pyarrow>=17.0",
    "pygame": "gymnasium[classic-control]>=1.1",
    "pytest": "pytest>=8.4",
    "ray": "ray>=2.50",
    "requests": "requests>=2.32",
    "rlcard": "pettingzoo[classic]",
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


@dataclass(frozen=True, slots=True)
class WellKnown:
    """A package that registers environments.

    Attributes:
        requirement: what pip installs.
        source: the value of `--import` that registers them, as the package's README has it.
        ids: matches the beginning of its ids, without a namespace of the server's.
        pins: a requirement of it that the server's own Python does not meet; empty if there is none.
    """

    requirement: str
    source: str
    ids: str
    pins: str = ""

    @property
    def module(self) -> str:
        """The module that is imported."""
        return self.source.partition(":")[0]

    @property
    def advice(self) -> str:
        """How the server comes to have it."""
        advice = f"install {package_of(self.requirement)} ({pip_command(self.requirement)}) and start the server with --import "
        pins = (
            f"; it needs {self.pins}: where the server's own Python has not that, use --interpreter"
            if self.pins
            else ""
        )
        return advice + self.source + pins


WELL_KNOWN: Final = (
    # The newest releases of December 2026: what they register, on which import, and what they require.
    WellKnown("ale-py>=0.12", "ale_py", r"ALE/"),
    WellKnown("bluesky-gym", "bluesky_gym:register_envs", r"(Descent|PlanWaypoint|(Horizontal|Vertical|Sector)CR|StaticObstacle|Merge)Env-", "numpy==1.24"),
    WellKnown("browsergym-miniwob", "browsergym.miniwob", r"browsergym/miniwob\."),
    WellKnown("browsergym-core", "browsergym.core", r"browsergym/openended"),
    WellKnown("crafter", "crafter", r"Crafter(No)?Reward-"),
    WellKnown("flappy-bird-gymnasium", "flappy_bird_gymnasium", r"FlappyBird-"),
    WellKnown("gym-aloha", "gym_aloha", r"gym_aloha/"),
    WellKnown("gym-anytrading", "gym_anytrading", r"(forex|stocks)-"),
    WellKnown("gym-electric-motor", "gym_electric_motor", r"(Cont|Finite)-(CC|SC|TC)-"),
    WellKnown("gym-pusht", "gym_pusht", r"gym_pusht/"),
    WellKnown("gym-super-mario-bros", "gym_super_mario_bros", r"SuperMarioBros", "numpy<2"),
    WellKnown("gym-xarm", "gym_xarm", r"gym_xarm/", "mujoco<3"),
    WellKnown("gymnasium-robotics", "gymnasium_robotics", r"Fetch|HandReach|HandManipulate|AdroitHand|FrankaKitchen|(Ant|Point)Maze"),
    WellKnown("highway-env", "highway_env", r"(highway|intersection|lane-keeping|merge|parking|racetrack|roundabout|two-way|u-turn)-"),
    WellKnown("lbforaging", "lbforaging", r"Foraging-"),
    WellKnown("mani-skill", "mani_skill.envs", r"(PegInsertionSide|PickCube|PullCube|PushCube|StackCube)-"),
    WellKnown("metaworld", "metaworld", r"Meta-World/", "mujoco==3.3.0"),
    WellKnown("minatar", "minatar.gym:register_envs", r"MinAtar/"),
    WellKnown("minigrid", "minigrid", r"MiniGrid-|BabyAI-"),
    WellKnown("minihack", "minihack", r"MiniHack-", "gym<0.20"),
    WellKnown("miniworld", "miniworld", r"MiniWorld-"),
    WellKnown("miniwob", "miniwob", r"miniwob/"),
    WellKnown("mo-gymnasium", "mo_gymnasium", r"(mo|breakable-bottles|deep-sea-treasure|fishwood|four-room|fruit-tree|minecart|resource-gathering|water-reservoir)-"),
    WellKnown("nle", "nle", r"NetHack", "gymnasium==1.2.0"),
    WellKnown("panda-gym", "panda_gym", r"Panda(Flip|PickAndPlace|Push|Reach|Slide|Stack)"),
    WellKnown("popgym", "popgym", r"popgym-"),
    WellKnown("pybullet-envs-gymnasium", "pybullet_envs_gymnasium", r"\w+BulletEnv-"),
    WellKnown("pyflyt", "PyFlyt.gym_envs", r"PyFlyt/", "numpy<2"),
    WellKnown("rware", "rware", r"rware-"),
    WellKnown("safety-gymnasium", "safety_gymnasium", r"Safety\w+Gymnasium-", "gymnasium==0.28.1"),
    WellKnown("sumo-rl", "sumo_rl", r"sumo-rl-"),
    WellKnown("tetris-gymnasium", "tetris_gymnasium.envs", r"tetris_gymnasium/"),
    WellKnown("vizdoom", "vizdoom.gymnasium_wrapper", r"Vizdoom"),
)  # fmt: skip
"""Packages that many use and whose READMEs give ids."""


def known_id(env_id: str) -> WellKnown | None:
    """Return the well-known package that registers an id, or None."""
    return next((package for package in WELL_KNOWN if re.match(package.ids, env_id)), None)


def known_module(module: str) -> WellKnown | None:
    """Return the well-known package that a module is in, or None."""
    same = (package for package in WELL_KNOWN if package.module == module)
    top = module.partition(".")[0]
    return next(same, None) or next((each for each in WELL_KNOWN if each.module.partition(".")[0] == top), None)


def requirement_of(module: str) -> str | None:
    """Return the requirement that installs a module, or None if it is unknown."""
    known = known_module(module)
    return REQUIREMENTS.get(module.partition(".")[0]) or (None if known is None else known.requirement)


def package_of(requirement: str) -> str:
    """Return a requirement without its minimum or exact version. An upper bound stays, because it is needed."""
    return re.split(r">=|==", requirement)[0]


def pip_command(*requirements: str, python: str = "python") -> str:
    """Return the shell command that installs requirements.

    Args:
        *requirements: pip requirements; several modules may have the same.
        python: the interpreter. Clients must not see the path of the server's own.
    """
    return f"{shlex.quote(python)} -m pip install {' '.join(map(shlex.quote, dict.fromkeys(requirements)))}"


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
