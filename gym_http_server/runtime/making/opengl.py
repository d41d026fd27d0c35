"""OpenGL for MuJoCo on machines without a display: the choice of the library, and errors instead of aborts.

https://mujoco.readthedocs.io/en/stable/programming/index.html#using-opengl
"""

from __future__ import annotations

import contextlib
import ctypes.util
import functools
import importlib.util
import os
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

VARIABLE: Final = "MUJOCO_GL"

OFF_SCREEN: Final = {"EGL": "egl", "OSMesa": "osmesa"}
"""System libraries that render without a display, the fastest first, and their values of the variable."""

DISPLAY_TIMEOUT_SECONDS: Final = 1.0
"""Maximum wait for a display on another machine."""


def choose() -> None:
    """Set `MUJOCO_GL` to a library that renders without a display, if it is unset and no display answers (Linux only).

    To be called before the first import of `mujoco`, which reads the variable.
    """
    if os.environ.get(VARIABLE) or sys.platform != "linux" or not _has_mujoco():
        return
    if _answers(_x11_addresses(os.environ.get("DISPLAY", ""))) or _answers(_wayland_addresses()):
        return
    # Only an installed one: with any other, `mujoco` cannot be imported.
    chosen = next((name for library, name in OFF_SCREEN.items() if ctypes.util.find_library(library)), None)
    if chosen is not None:
        os.environ[VARIABLE] = chosen


def _has_mujoco() -> bool:
    try:
        return importlib.util.find_spec("mujoco") is not None
    except ImportError:  # raised by a custom import finder
        return False


def _x11_addresses(display: str) -> list[str | tuple[str, int]]:
    """Return the addresses of the X server with this display name (X(7)): paths of Unix sockets, or a host and a port."""
    host, _, number = display.removeprefix("unix").rpartition(":")
    number = number.partition(".")[0]
    if not number.isdecimal():
        return []
    if host and not host.startswith("/"):
        return [(host, 6000 + int(number))]
    path = f"/tmp/.X11-unix/X{number}"  # noqa: S108 -- X's own path
    return [*([f"{host}:{number}"] if host else []), f"\0{path}", path]


def _wayland_addresses() -> list[str | tuple[str, int]]:
    name, directory = os.environ.get("WAYLAND_DISPLAY", ""), os.environ.get("XDG_RUNTIME_DIR", "")
    return [os.path.join(directory, name)] if name and (directory or name.startswith("/")) else []  # noqa: PTH118 -- an absolute name replaces the directory, as in Wayland


def _answers(addresses: Iterable[str | tuple[str, int]]) -> bool:
    """Return whether one of the addresses accepts connections."""
    for address in addresses:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(family) as connection:
            connection.settimeout(DISPLAY_TIMEOUT_SECONDS)
            connection.connect(address)
            return True
    return False


def keep_from_aborting() -> None:
    """Patch `mujoco` and `glfw`, if they are imported, so that a failed rendering raises instead of aborting the process.

    MuJoCo loads OpenGL's functions once per process. If that fails, it raises `mujoco.FatalError`, and the next attempt would
    abort: now it raises the same error. A window (render mode `human`) without a display raises `RuntimeError`.
    """
    mujoco, glfw = sys.modules.get("mujoco"), sys.modules.get("glfw")
    context = getattr(mujoco, "MjrContext", None)
    if context is not None and not hasattr(context.__init__, "__wrapped__"):
        context.__init__ = _failing_again(context.__init__, mujoco.FatalError)  # type: ignore[union-attr]  # it has contexts
    window_size = getattr(glfw, "get_video_mode", None)
    if window_size is not None and not hasattr(window_size, "__wrapped__"):
        glfw.get_video_mode = _requiring_monitor(window_size)  # type: ignore[union-attr]  # it has the function


def _failing_again(make: Callable[..., None], fatal: type[Exception]) -> Callable[..., None]:
    has_loaded, message = False, ""

    @functools.wraps(make)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 -- it replaces an __init__
        nonlocal has_loaded, message
        if message:
            raise fatal(message)
        try:
            make(self, *args, **kwargs)
        except fatal as error:
            if not has_loaded:
                message = str(error)
            raise
        has_loaded = True

    return __init__


def _requiring_monitor(get_video_mode: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @functools.wraps(get_video_mode)
    def requiring_monitor(monitor: Any) -> Any:
        if not monitor:  # GLFW's assertion would abort
            raise RuntimeError("there is no display to open a window on: ask for render mode 'rgb_array'")
        return get_video_mode(monitor)

    return requiring_monitor
