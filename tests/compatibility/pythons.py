"""Virtual environments, one for each package, in a directory that is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from .table import ROOT, Package

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gym-http-server" / "compatibility"
INSTALL_SECONDS = 900.0


class InstallError(Exception):
    """A package cannot be installed; the text has the installer's last words."""


def python_of(package: Package, cache: Path = CACHE) -> str:
    """Return the path of a Python that has the package, made on first use.

    Raises:
        InstallError: it cannot be made.
    """
    directory = cache / package.slug
    python = directory / "bin" / "python"
    wanted = "\n".join([package.python, *package.before, "--", *package.requirements])
    marker = directory / "installed.txt"  # written last
    if not (marker.exists() and marker.read_text() == wanted):
        shutil.rmtree(directory, ignore_errors=True)
        directory.parent.mkdir(parents=True, exist_ok=True)
        install = _make(directory, package.python)
        if package.before:
            _run([*install, *package.before])
            # uv and today's pip refuse the metadata of some old packages.
            install = [str(python), "-m", "pip", "install", "--quiet", "--no-build-isolation"]
        _run([*install, *package.requirements])
        if not package.interpreter:
            _run([*install, "--no-deps", str(ROOT)])  # the server asks for its version
        marker.write_text(wanted)
    return str(python)


def _make(directory: Path, version: str) -> list[str]:
    """Make a virtual environment, and return the command that installs into it."""
    if uv := shutil.which("uv"):
        _run([uv, "venv", "--quiet", "--python", version or sys.executable, str(directory)])
        return [uv, "pip", "install", "--quiet", "--python", str(directory / "bin" / "python")]
    base = sys.executable
    if version and (base := shutil.which(f"python{version}")) is None:
        raise InstallError(f"there is neither uv nor a python{version}")
    _run([base, "-m", "venv", str(directory)])
    return [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise InstallError(f"{Path(command[0]).name} took longer than {INSTALL_SECONDS:.0f} s") from None
    if done.returncode != 0:
        raise InstallError(done.stderr.strip() or done.stdout.strip())
