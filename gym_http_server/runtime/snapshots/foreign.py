"""Visits of other libraries' classes, whose state lies outside of Python objects.

Classes are given by name, because few of these libraries are loaded in a process.
"""

from __future__ import annotations

import contextlib
import copy
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from . import emulator
from .saved import NotWalkableError

if TYPE_CHECKING:
    from .saved import SavedBuilder, Visit

KEPT: Final = (
    *("gymnasium.envs.mujoco.mujoco_rendering.", "mujoco.renderer.", "mujoco.egl.", "mujoco.glfw.", "mujoco.osmesa."),
    *("OpenGL.", "glfw.", "pyglet.", "numba.", "logging.", "gymnasium.envs.registration.", "gym.envs.registration."),
)
"""Prefixes of the full names of classes that are no part of the state and are not saved: rendering, compiled code, logs,
registrations."""

OUTSIDE: Final = {
    "ctypes.CDLL": "a library in C",
    "pybullet_utils.bullet_client.BulletClient": "a library in C",
    "subprocess.Popen": "another process",
    "multiprocessing.process.BaseProcess": "another process",
    "multiprocessing.connection._ConnectionBase": "another process",
    "multiprocessing.managers.BaseProxy": "another process",
    "multiprocessing.pool.Pool": "other processes",
    "concurrent.futures._base.Executor": "other threads or processes",
    "threading.Thread": "another thread",
    "http.client.HTTPConnection": "a connection",
    "asyncio.events.AbstractEventLoop": "an event loop",
}
"""Where the state of these Python classes lies, by full name; their instances are refused."""

HANDLES: Final = frozenset(("pybullet",))
"""Modules with a global state in a C library: code that uses one of them is refused."""


def _visit_ale(interface: Any, builder: SavedBuilder) -> None:
    if (stand_in := emulator.emulator_of(interface)) is not None:
        builder.todo.append(stand_in)
        return
    if interface.getFloat(emulator.PROBABILITY) > 0:
        raise NotWalkableError(
            f"cannot tell which action ALE repeats: create it with {emulator.PROBABILITY} 0 to save its state"
        )
    builder.add_foreign(
        interface,
        lambda interface: interface.cloneState(include_rng=True),
        lambda interface, saved: interface.restoreState(saved),
    )
    # ALE's state lacks the screen: after a restore it shows the wrong frame until the next step.
    builder.needs_frame = True


def _visit_data(data: Any, builder: SavedBuilder) -> None:
    builder.entries.append((_load_data, data, copy.copy(data)))


def _load_data(data: Any, saved: Any) -> None:
    mujoco = sys.modules["mujoco"]
    if hasattr(mujoco, "mj_copyData"):
        mujoco.mj_copyData(data, data.model, saved)
        return
    # Before 3.5. What has no fixed size, such as contacts, is computed anew, which every step begins with anyway.
    _copy_arrays(data, saved)
    data.time = saved.time
    mujoco.mj_forward(data.model, data)
    _copy_arrays(data, saved)


def _copy_arrays(target: Any, source: Any) -> None:
    for name in dir(source):
        value = None if name.startswith("_") else getattr(source, name)
        if isinstance(value, np.ndarray):
            array = getattr(target, name)
            if array.flags.writeable and array.shape == value.shape:
                array[...] = value


def _save_model(model: Any) -> np.ndarray[Any, Any]:
    mujoco = sys.modules["mujoco"]
    saved = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, saved)
    return saved


def _load_model(model: Any, saved: np.ndarray[Any, Any]) -> None:
    """Restore a model; some environments change it at each reset.

    Raises:
        ValueError: a part was changed that cannot be set.
    """
    current = _save_model(model)
    if np.array_equal(current, saved):
        return
    before, since = (
        sys.modules["mujoco"].MjModel.from_binary_path("model.mjb", {"model.mjb": model_bytes.tobytes()})
        for model_bytes in (saved, current)
    )
    _copy_fields(model, before)
    if not np.array_equal(_save_model(model), saved):
        _copy_fields(model, since)
        raise ValueError("the model of MuJoCo was changed since, in what cannot be put back")


def _copy_fields(target: Any, source: Any) -> None:
    for name in dir(source):
        if name.startswith("_"):
            continue
        value = getattr(source, name)
        if isinstance(value, np.ndarray):
            array = getattr(target, name)
            if array.flags.writeable:
                array[...] = value
        elif type(value).__module__ == "mujoco._structs":
            _copy_fields(getattr(target, name), value)
        elif isinstance(value, int | float) and getattr(target, name) != value:
            with contextlib.suppress(AttributeError):  # sizes of memory are read-only
                setattr(target, name, value)


def _visit_model(model: Any, builder: SavedBuilder) -> None:
    builder.foreign.append((_load_model, _save_model, model, builder.shared(model, _save_model(model))))


def _visit_tuple_like(value: Any, builder: SavedBuilder) -> None:
    builder.add_foreign(value, tuple, lambda value, saved: value.update(*saved))


WHOLE: Final[dict[str, Visit]] = {"gym_http_server.runtime.snapshots.emulator.Emulator": emulator.visit}
"""Visits, by full name of the class, that replace the visit of the attributes."""

VISITS: Final[dict[str, Visit | None]] = {
    "ale_py._ale_py.ALEInterface": _visit_ale,
    "mujoco._structs.MjData": _visit_data,
    "mujoco._structs.MjModel": _visit_model,
    # No part of the state: the next frame is drawn anew.
    "pygame.surface.Surface": None,
    "pygame.time.Clock": None,
    "pygame.font.Font": None,
    "pygame.freetype.Font": None,
    "pygame.mixer.Sound": None,
    "pygame.mixer.Channel": None,
    "pygame.event.Event": None,
    "pygame.rect.Rect": _visit_tuple_like,
    "pygame.rect.FRect": _visit_tuple_like,
    "pygame.math.Vector2": _visit_tuple_like,
    "pygame.math.Vector3": _visit_tuple_like,
    "pygame.color.Color": _visit_tuple_like,
}
"""Visits, by full name of the class, beside the visit of the attributes; None for nothing to save."""
