"""OpenGL on machines without a display: what MuJoCo draws with there, and what it does where it cannot.

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
"""The libraries of the system that draw without a display, the fastest first, and what the variable calls them."""


ANSWER_SECONDS: Final = 1.0
"""How long a display on another machine may take to answer."""


def choose() -> None:
    """Have MuJoCo draw without a display, on a Linux machine that has none, or names one that nobody answers.

    It sets `MUJOCO_GL` in this process, where nobody else has, and is to be called before anything imports `mujoco`, which
    reads it then.
    """
    if os.environ.get(VARIABLE) or sys.platform != "linux" or not _has_mujoco():
        return
    if _answers(_x11_addresses(os.environ.get("DISPLAY", ""))) or _answers(_wayland_addresses()):
        return
    # One that is not installed is not named: with such a name `mujoco` cannot even be imported.
    chosen = next((name for library, name in OFF_SCREEN.items() if ctypes.util.find_library(library)), None)
    if chosen is not None:
        os.environ[VARIABLE] = chosen


def _has_mujoco() -> bool:
    try:
        return importlib.util.find_spec("mujoco") is not None
    except ImportError:  # a finder of the program's own refuses it
        return False


def _x11_addresses(display: str) -> list[str | tuple[str, int]]:
    """Return where an X server of that name (X(7)) listens: paths of Unix sockets, or a host and a port."""
    host, _, number = display.removeprefix("unix").rpartition(":")
    number = number.partition(".")[0]
    if not number.isdecimal():
        return []
    if host and not host.startswith("/"):
        return [(host, 6000 + int(number))]
    path = f"/tmp/.X11-unix/X{number}"  # noqa: S108 -- where X has it
    return [*([f"{host}:{number}"] if host else []), f"\0{path}", path]


def _wayland_addresses() -> list[str | tuple[str, int]]:
    name, directory = os.environ.get("WAYLAND_DISPLAY", ""), os.environ.get("XDG_RUNTIME_DIR", "")
    return [os.path.join(directory, name)] if name and (directory or name.startswith("/")) else []  # noqa: PTH118 -- as Wayland joins them


def _answers(addresses: Iterable[str | tuple[str, int]]) -> bool:
    """Return whether somebody accepts connections at one of these addresses."""
    for each in addresses:
        family = socket.AF_UNIX if isinstance(each, str) else socket.AF_INET
        with contextlib.suppress(OSError), socket.socket(family) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(each)
            return True
    return False


def keep_from_aborting() -> None:
    """Where `mujoco` has been imported, see to it that this process outlives a drawing that is not possible.

    MuJoCo looks for OpenGL's functions once in a process. Where that fails it raises `mujoco.FatalError`, and the next attempt,
    of whichever environment, would abort the process: it raises that error again instead. A window, of render mode `human`,
    would abort it where there is no display, and raises `RuntimeError`.
    """
    mujoco, glfw = sys.modules.get("mujoco"), sys.modules.get("glfw")
    context = getattr(mujoco, "MjrContext", None)
    if context is not None and not hasattr(context.__init__, "__wrapped__"):
        context.__init__ = _once_failed(context.__init__, mujoco.FatalError)  # type: ignore[union-attr]  # it has contexts
    window_size = getattr(glfw, "get_video_mode", None)
    if window_size is not None and not hasattr(window_size, "__wrapped__"):
        glfw.get_video_mode = _of_a_monitor(window_size)  # type: ignore[union-attr]  # it has the function


def _once_failed(make: Callable[..., None], fatal: type[Exception]) -> Callable[..., None]:
    has_loaded, words = False, ""

    @functools.wraps(make)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807 -- it is one
        nonlocal has_loaded, words
        if words:
            raise fatal(words)
        try:
            make(self, *args, **kwargs)
        except fatal as error:
            if not has_loaded:
                words = str(error)
            raise
        has_loaded = True

    return __init__


def _of_a_monitor(get_video_mode: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @functools.wraps(get_video_mode)
    def of_a_monitor(monitor: Any) -> Any:
        if not monitor:  # GLFW asserts that there is one
            raise RuntimeError("there is no display to open a window on: ask for render mode 'rgb_array'")
        return get_video_mode(monitor)

    return of_a_monitor
