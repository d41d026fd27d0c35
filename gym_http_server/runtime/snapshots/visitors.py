"""`Visitors`: finds the visit of each class.

A class of an extension that is not known here is refused, and so is an environment that holds an instance: a copy may share its
state, as with Box2D, whose objects `copy.deepcopy` copies without an error.
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
"""Types of attributes of classes and modules that are no state."""

LIBRARIES: Final = sys.stdlib_module_names | {
    *("gymnasium", "gym", "gym_http_server", "numpy", "ale_py", "mujoco", "pygame"),
}
"""Packages whose classes and modules hold no state of an environment, and which do not use the random generators of the
process."""

_SPACES: Final = frozenset(("gymnasium.spaces.space.Space", "gym.spaces.space.Space"))
_MAKE_GENERATORS: Final = frozenset(
    ("gymnasium.core.Env", "gym.core.Env", "gymnasium.vector.vector_env.VectorEnv", *_SPACES),
)
"""Classes whose instances make their random generator on first use."""

_CONSTANTS: Final = {
    f"{library}.envs.toy_text.{name}": frozenset(("P",))
    for library in ("gymnasium", "gym")
    for name in ("frozen_lake.FrozenLakeEnv", "taxi.TaxiEnv", "cliffwalking.CliffWalkingEnv")
}
"""Large attributes that never change, by class."""

_CYTHON: Final = "cython_function_or_method"
"""Name of the class of functions compiled by Cython; each version of Cython has its own such class."""

_UNSET: Final = object()

_POINTER: Final = struct.calcsize("P")
_MANAGED_WEAKREF: Final = 1 << 3
_MANAGED_DICT: Final = 1 << 4
"""Flags of classes whose `__weakref__` or `__dict__` lies before the object (`Include/object.h`)."""


class Visitors(dict[type, "Visit | None"]):
    """The visit of each class; None for classes whose instances never change.

    Attributes:
        spaces: the classes and modules met so far, without those of `LIBRARIES`.
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
        names = list(map(_name, cls.__mro__))
        if any(name.startswith(foreign.KEPT) for name in names):
            return None
        if names[0] in foreign.WHOLE:
            return foreign.WHOLE[names[0]]
        if where := next((foreign.OUTSIDE[name] for name in names if name in foreign.OUTSIDE), None):
            return refusing(f"its state is that of {where}")
        for base in _bases(cls):
            if _name(base) in foreign.VISITS:
                return _instance(cls, foreign.VISITS[_name(base)])
            if base in KNOWN:
                return _instance(cls, KNOWN[base])
            if not is_plain(base):
                family = next((family for family in FAMILIES if issubclass(base, family)), None)
                return (
                    refusing("Python does not see what is in it")
                    if family is None
                    else _instance(cls, FAMILIES[family])
                )
            self._note(base)
        return None

    def note_module(self, name: str | None) -> None:
        """Note the module of code that was met.

        Raises:
            NotWalkableError: the module uses one of `HANDLES`.
        """
        if name is None or name in self._noted:
            return
        module = sys.modules.get(name)
        if module is not None and name.split(".")[0] not in LIBRARIES:
            used = [value.__name__ for value in list(vars(module).values()) if isinstance(value, types.ModuleType)]
            if handle := next((module_name for module_name in used if module_name in foreign.HANDLES), None):
                raise NotWalkableError(f"{name} uses {handle}, whose state lies outside of Python")
            self.spaces.append(module)
        self._noted.add(name)

    def _note(self, cls: type) -> None:
        """Note a class, and the modules of its methods; raises as `note_module`."""
        if cls in self._noted:
            return
        for value in list(vars(cls).values()):
            if isinstance(value, types.FunctionType):
                self.note_module(value.__module__)
        self.note_module(_module(cls))
        if _module(cls).split(".")[0] not in LIBRARIES:
            self.spaces.append(cls)
        self._noted.add(cls)


def _bases(cls: type) -> list[type]:
    """Return a class and the bases that determine the memory layout of its instances."""
    bases = [cls]
    while (base := bases[-1].__base__) is not None:
        bases.append(base)
    return bases


def _name(cls: type) -> str:
    return f"{_module(cls)}.{cls.__qualname__}"


def _module(cls: type) -> str:
    return str(getattr(cls, "__module__", ""))  # some classes of extensions have none


def _instance(cls: type, inner: Visit | None) -> Visit | None:
    """Return the visit of a class: the visit `inner` of its base, its attributes and its slots."""
    slots = all_slots(cls)
    has_attributes = cls.__dictoffset__ != 0
    if not has_attributes and not slots:
        return inner
    is_space = any(_name(base) in _SPACES for base in cls.__mro__)
    constants = _CONSTANTS.get(_name(cls))
    generator = _lazy_generator(cls)

    def visit(value: Any, builder: SavedBuilder) -> None:
        if inner is not None:
            inner(value, builder)
        if has_attributes:
            attributes = object.__getattribute__(value, "__dict__")
            if generator is not None and attributes.get("_np_random") is None:
                generator.__get__(value)  # made after the snapshot, it would differ after each restore
            saved = attributes.copy()
            builder.entries.append((_put_attributes, value, saved))
            if is_space:
                # Bounds never change, and those of images are large.
                builder.todo += [item for item in saved.values() if type(item) is not np.ndarray]
            elif constants is not None:
                builder.todo += [item for name, item in saved.items() if name not in constants]
            else:
                builder.todo += saved.values()
        if slots:
            filled = [_slot(value, slot) for slot in slots]
            builder.entries.append((_put_slots, value, (slots, filled)))
            builder.todo += filled

    return visit


def _lazy_generator(cls: type) -> property | None:
    owner = next((base for base in cls.__mro__ if "np_random" in vars(base)), None)
    if owner is None or _name(owner) not in _MAKE_GENERATORS:
        return None
    generator = vars(owner)["np_random"]
    return generator if isinstance(generator, property) else None


def _put_attributes(value: Any, saved: dict[str, Any]) -> None:
    attributes = object.__getattribute__(value, "__dict__")
    # Not cleared if the names are the same: clearing a `__dict__` makes every later access slower.
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
    """Return whether a class adds nothing to the instances of its base but a `__dict__` and slots.

    The sizes show it: CPython stores an object's fields one after another, those of its base first. A class of an
    extension may add fields that Python cannot see.
    """
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
    """Return the slots that a class itself defines; members of a class of an extension do not count."""
    members = vars(cls)
    if "__slots__" not in members:
        return []
    return [member for member in members.values() if type(member) is types.MemberDescriptorType]


def all_slots(cls: type) -> list[types.MemberDescriptorType]:
    """Return the slots of a class and its bases."""
    return [slot for base in cls.__mro__ for slot in own_slots(base)]
