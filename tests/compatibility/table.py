"""`Package`: a row of the table of packages, `packages.toml`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("packages.toml")
DEPENDENCIES: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
GUEST_REQUIREMENTS = ("numpy",)
"""What the guest needs besides the package and its library."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package of environments.

    Attributes:
        name: its name on PyPI.
        version: its version.
        ids: environments that are tried.
        label: its name in the table, where that is not `name`.
        extras: extras of the package.
        also: further requirements.
        before: requirements that are installed first, because the package's build needs them.
        imports: values of `--import` or `--interpreter-import`.
        library: the library that `createEnv` names.
        kwargs: arguments of the constructor.
        steps: how many steps.
        vectorization: mode of the batch. A vector environment of a package's own (CartPole) draws otherwise than single ones.
        variables: environment variables of its Python.
        python: version of the Python that it is installed into; empty: that of this one.
        interpreter: whether that is an interpreter of the server, because it conflicts with the server's requirements.
        why: why it conflicts.
        differs: why something differs.
        untried: why it cannot be tried.
        quick: whether it is tried in each run of the gate, because it installs and runs in seconds.
    """

    name: str
    version: str = ""
    ids: tuple[str, ...] = ()
    label: str = ""
    extras: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    library: str = "auto"
    kwargs: dict[str, Any] = field(default_factory=dict)
    steps: int = 50
    vectorization: str = "sync"
    variables: dict[str, str] = field(default_factory=dict)
    python: str = ""
    interpreter: bool = False
    why: str = ""
    differs: str = ""
    untried: str = ""
    quick: bool = False

    @property
    def title(self) -> str:
        """Name in the table."""
        return self.label or self.name

    @property
    def slug(self) -> str:
        """Name of its directory and of its interpreter."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")

    @property
    def requirements(self) -> list[str]:
        """What is installed into its Python."""
        extras = f"[{','.join(self.extras)}]" if self.extras else ""
        others = GUEST_REQUIREMENTS if self.interpreter else DEPENDENCIES
        return [f"{self.name}{extras}=={self.version}", *self.also, *others]


def packages(path: Path = TABLE) -> list[Package]:
    """Return the rows of the table."""
    rows = tomllib.loads(path.read_text())["package"]
    return [
        Package(**{key: tuple(value) if isinstance(value, list) else value for key, value in row.items()})
        for row in rows
    ]
