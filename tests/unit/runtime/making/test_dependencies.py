"""What is advised for a missing package: known names with the project's own versions, and nothing guessed."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from gym_http_server.runtime.making.dependencies import (
    KNOWN_MESSAGES,
    REQUIREMENTS,
    missing_module,
    package_of,
    pip_command,
    requirement_of,
)

ROOT = Path(__file__).parents[4]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = [*PROJECT["dependencies"], *(each for extra in PROJECT["optional-dependencies"].values() for each in extra)]


def parsed(texts: list[str]) -> dict[tuple[str, frozenset[str]], Requirement]:
    requirements = map(Requirement, texts)
    return {(canonicalize_name(each.name), frozenset(each.extras)): each for each in requirements}


def test_the_versions_advised_are_those_of_the_project() -> None:
    """What pyproject.toml requires, base or extra, is advised with the same version."""
    declared, advised = parsed(DECLARED), parsed(list(REQUIREMENTS.values()))
    common = declared.keys() & advised.keys()
    assert len(common) >= 14
    assert {key: advised[key].specifier for key in common} == {key: declared[key].specifier for key in common}
    [gymnasium] = [each for key, each in declared.items() if key[0] == "gymnasium" and "toy-text" in key[1]]
    others = advised.keys() - common
    assert all(advised[key].specifier == gymnasium.specifier for key in others if key[0] == "gymnasium")


def test_every_extra_that_is_advised_is_one_of_gymnasium() -> None:
    """pip only warns of an extra that a package does not have."""
    extras = importlib.metadata.metadata("gymnasium").get_all("Provides-Extra")
    assert {
        extra for name, found in parsed(list(REQUIREMENTS.values())) if name == "gymnasium" for extra in found
    } <= set(extras)


def test_a_requirement_of_several_modules_is_named_once() -> None:
    """Minari and h5py come with one requirement."""
    command = pip_command("minari[hdf5]", "pyarrow", "minari[hdf5]")
    assert command == "python -m pip install 'minari[hdf5]' pyarrow"


def test_what_is_in_the_table_and_installed_has_the_module() -> None:
    """A module's package is the one that pip installed it with."""
    owners = importlib.metadata.packages_distributions()
    installed = {module: owners[module] for module in REQUIREMENTS if module in owners}
    assert len(installed) >= 10
    for module, distributions in installed.items():
        advised = Requirement(REQUIREMENTS[module])
        if advised.extras:
            needed = map(Requirement, importlib.metadata.requires(advised.name) or ())
            names = {
                canonicalize_name(each.name)
                for each in needed
                if each.marker and any(each.marker.evaluate({"extra": extra}) for extra in advised.extras)
            } | {canonicalize_name(advised.name)}
        else:
            names = {canonicalize_name(advised.name)}
        # Two builds of OpenCV have the same module.
        assert names & set(map(canonicalize_name, distributions)), module


@pytest.mark.full
@pytest.mark.skipif("PACKAGE_INDEX" not in os.environ, reason="asks the package index (see .ci/run)")
def test_the_index_has_what_is_advised_and_not_installed_by_the_tests() -> None:
    """pip finds each package that no requirement of the project names."""
    declared = parsed(DECLARED)
    rest = sorted(str(each) for key, each in parsed(list(REQUIREMENTS.values())).items() if key not in declared)
    rest = [each for each in rest if not each.startswith("gymnasium[")]
    rest += [each for each, _ in KNOWN_MESSAGES.values() if not each.startswith("mujoco<")]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet"]
    done = subprocess.run([*command, *rest], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "does not provide the extra" not in done.stderr


def test_a_module_that_is_not_known_gets_no_command() -> None:
    """Its package may have any name, or it is a file of the user's own."""
    assert requirement_of("Box2D.b2") == "gymnasium[box2d]>=1.2.3"
    assert requirement_of("my_envs") is None
    assert missing_module("my.envs", "/there") == (
        "no module named my.envs on the server: is my/envs.py in /there, or its package installed?"
    )
    assert pip_command("ale-py>=0.12", python="/a b/python") == "'/a b/python' -m pip install 'ale-py>=0.12'"
    assert [package_of(each) for each in ("ale-py>=0.12", "gym==0.26.2", "mujoco<3")] == ["ale-py", "gym", "mujoco<3"]


def test_no_text_advises_to_install_this_project_from_the_index() -> None:
    """The name there is another project's, a release of 2019 with other dependencies."""
    texts = [
        *ROOT.glob("README.md"),
        *ROOT.glob(".github/*.md"),
        *ROOT.glob("openapi/*"),
        *(path for path in ROOT.glob("gym_http_server/**/*") if path.suffix in (".py", ".html", ".md", ".js")),
    ]
    assert len(texts) > 100
    advised = re.compile(r"pip install(?:(?!&&)[^\n])*gym[-_]http[-_]server")
    assert [str(path) for path in texts if advised.search(path.read_text())] == []
