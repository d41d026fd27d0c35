"""The kinds of objects: what is saved of an instance of each class.

What is not known here is refused, and whatever holds it cannot be saved: an object of an extension may share its state with
its copy, as those of Box2D do, which Python copies without a word.
"""

from __future__ import annotations

import enum
import functools
import struct
import sys
import types
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from . import foreign
from .contents import FAMILIES, KNOWN, refusing
from .saved import NotWalkableError

if TYPE_CHECKING:
    from .saved import SavedBuilder, Visit

CODE: Final = (
    *(types.ModuleType, type, types.FunctionType, types.BuiltinFunctionType, staticmethod, classmethod, property),
    *(types.MemberDescriptorType, types.GetSetDescriptorType, functools.cached_property, types.GenericAlias),
)
"""What classes and modules hold that is no state."""

LIBRARIES: Final = sys.stdlib_module_names | {
    *("gymnasium", "gym", "gym_http_server", "numpy", "ale_py", "mujoco", "pygame"),
}
"""Packages whose classes and modules hold no state of an environment, and which draw no random numbers from the generators
of the process."""

_SPACES: Final = frozenset(("gymnasium.spaces.space.Space", "gym.spaces.space.Space"))
_MAKE_GENERATORS: Final = frozenset(
    ("gymnasium.core.Env", "gym.core.Env", "gymnasium.vector.vector_env.VectorEnv", *_SPACES),
)
"""Classes whose instances make their random generator at its first use."""

_CONSTANTS: Final = {
    f"{library}.envs.toy_text.{name}": frozenset(("P",))
    for library in ("gymnasium", "gym")
    for name in ("frozen_lake.FrozenLakeEnv", "taxi.TaxiEnv", "cliffwalking.CliffWalkingEnv")
}
"""Attributes that never change, and take long to look through."""

_CYTHON: Final = "cython_function_or_method"
"""Functions that Cython compiled; each of its versions has a class of its own by that name."""

_UNSET: Final = object()

_POINTER: Final = struct.calcsize("P")
_MANAGED_WEAKREF: Final = 1 << 3
_MANAGED_DICT: Final = 1 << 4
"""Flags of classes whose `__weakref__` and `__dict__` lie before the object (`Include/object.h`)."""


class Visitors(dict[type, "Visit | None"]):
    """What is saved of the instances of each class; None for those that have no content that could change.

    Attributes:
        spaces: the classes and modules that code was met of, but for those of `LIBRARIES`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spaces: list[type | types.ModuleType] = []
        self._noted: set[str | type] = set()

    def __missing__(self, cls: type) -> Visit | None:
        visit = self[cls] = self._of(cls)
        return visit

    def _of(self, cls: type) -> Visit | None:
        if issubclass(cls, type | types.ModuleType) or isinstance(cls, enum.EnumType) or cls.__name__ == _CYTHON:
            return None
        names = [_name(each) for each in cls.__mro__]
        if any(name.startswith(foreign.KEPT) for name in names):
            return None
        if names[0] in foreign.WHOLE:
            return foreign.WHOLE[names[0]]
        if where := next((foreign.OUTSIDE[name] for name in names if name in foreign.OUTSIDE), None):
            return refusing(f"its state is that of {where}")
        for base in _line(cls):
            if _name(base) in foreign.VISITS:
                return _instance(cls, foreign.VISITS[_name(base)])
            if base in KNOWN:
                return _instance(cls, KNOWN[base])
            if not is_plain(base):
                family = next((each for each in FAMILIES if issubclass(base, each)), None)
                return (
                    refusing("Python does not see what is in it")
                    if family is None
                    else _instance(cls, FAMILIES[family])
                )
            self._note(base)
        return None

    def note_module(self, name: str | None) -> None:
        """Note a module that code was met of.

        Raises:
            NotWalkableError: the code uses what is not seen by Python.
        """
        if name is None or name in self._noted:
            return
        module = sys.modules.get(name)
        if module is not None and name.split(".")[0] not in LIBRARIES:
            used = [each.__name__ for each in list(vars(module).values()) if isinstance(each, types.ModuleType)]
            if handle := next((each for each in used if each in foreign.HANDLES), None):
                raise NotWalkableError(f"{name} uses {handle}, whose state lies outside of Python")
            self.spaces.append(module)
        self._noted.add(name)

    def _note(self, cls: type) -> None:
        """Note a class and where its methods come from; raises as `note_module`."""
        if cls in self._noted:
            return
        for each in list(vars(cls).values()):
            if isinstance(each, types.FunctionType):
                self.note_module(each.__module__)
        self.note_module(_module(cls))
        if _module(cls).split(".")[0] not in LIBRARIES:
            self.spaces.append(cls)
        self._noted.add(cls)


def _line(cls: type) -> list[type]:
    """Return a class and those that the layout of its instances comes from."""
    line = [cls]
    while (base := line[-1].__base__) is not None:
        line.append(base)
    return line


def _name(cls: type) -> str:
    return f"{_module(cls)}.{cls.__qualname__}"


def _module(cls: type) -> str:
    return str(getattr(cls, "__module__", ""))  # some of extensions have none


def _instance(cls: type, inner: Visit | None) -> Visit | None:
    """Return what saves an instance of a class: what its base has, its attributes and its slots."""
    slots = all_slots(cls)
    has_attributes = cls.__dictoffset__ != 0
    if not has_attributes and not slots:
        return inner
    is_space = any(_name(each) in _SPACES for each in cls.__mro__)
    constants = _CONSTANTS.get(_name(cls))
    generator = _made_at_first_use(cls)

    def visit(value: Any, builder: SavedBuilder) -> None:
        if inner is not None:
            inner(value, builder)
        if has_attributes:
            attributes = object.__getattribute__(value, "__dict__")
            if generator is not None and attributes.get("_np_random") is None:
                generator.__get__(value)  # later it would be another one each time
            saved = attributes.copy()
            builder.entries.append((_put_attributes, value, saved))
            if is_space:
                # Its bounds never change, and those of pictures are large.
                builder.todo += [each for each in saved.values() if type(each) is not np.ndarray]
            elif constants is not None:
                builder.todo += [each for name, each in saved.items() if name not in constants]
            else:
                builder.todo += saved.values()
        if slots:
            filled = [_slot(value, slot) for slot in slots]
            builder.entries.append((_put_slots, value, (slots, filled)))
            builder.todo += filled

    return visit


def _made_at_first_use(cls: type) -> property | None:
    owner = next((each for each in cls.__mro__ if "np_random" in vars(each)), None)
    if owner is None or _name(owner) not in _MAKE_GENERATORS:
        return None
    made = vars(owner)["np_random"]
    return made if isinstance(made, property) else None


def _put_attributes(value: Any, saved: dict[str, Any]) -> None:
    attributes = object.__getattribute__(value, "__dict__")
    # The same names are left where they are: an emptied `__dict__` would make every later use of them slower.
    if attributes.keys() != saved.keys():
        attributes.clear()
    attributes.update(saved)


def _slot(value: Any, slot: types.MemberDescriptorType) -> Any:
    try:
        return slot.__get__(value)
    except AttributeError:
        return _UNSET


def _put_slots(value: Any, saved: tuple[list[types.MemberDescriptorType], list[Any]]) -> None:
    for slot, item in zip(*saved, strict=True):
        if item is not _UNSET:
            slot.__set__(value, item)
        elif _slot(value, slot) is not _UNSET:
            slot.__delete__(value)


def is_plain(cls: type) -> bool:
    """Return whether the instances of a class hold nothing but what its base has, a `__dict__` and slots."""
    base = cls.__base__
    if base is None:
        return True
    further = cls.__basicsize__ - base.__basicsize__ - _POINTER * len(own_slots(cls))
    if cls.__dictoffset__ and not base.__dictoffset__ and not cls.__flags__ & _MANAGED_DICT:
        further -= _POINTER
    if cls.__weakrefoffset__ and not base.__weakrefoffset__ and not cls.__flags__ & _MANAGED_WEAKREF:
        further -= _POINTER
    return further == 0 and cls.__itemsize__ == base.__itemsize__


def own_slots(cls: type) -> list[types.MemberDescriptorType]:
    """Return the slots that a class itself adds; members of a class of an extension are none."""
    members = vars(cls)
    if "__slots__" not in members:
        return []
    return [each for each in members.values() if type(each) is types.MemberDescriptorType]


def all_slots(cls: type) -> list[types.MemberDescriptorType]:
    """Return the slots that instances of a class have."""
    return [slot for each in cls.__mro__ for slot in own_slots(each)]
