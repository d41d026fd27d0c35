"""What there is to an object besides what Python shows of it: a class of an extension may hold state that only it knows.

An instance of a class that Python code defines is its `__dict__` and its slots, and what its base is. Whether that is all
can be told from the sizes: CPython has an object's fields one after another, those of its base first.
"""

from __future__ import annotations

import struct
from types import MemberDescriptorType
from typing import Final

_POINTER: Final = struct.calcsize("P")
_MANAGED_WEAKREF: Final = 1 << 3
_MANAGED_DICT: Final = 1 << 4
"""Flags of classes whose `__weakref__` and `__dict__` lie before the object (`Include/object.h`)."""


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


def own_slots(cls: type) -> list[MemberDescriptorType]:
    """Return the slots that a class itself adds; members of a class of an extension are none."""
    members = vars(cls)
    if "__slots__" not in members:
        return []
    return [each for each in members.values() if type(each) is MemberDescriptorType]


def all_slots(cls: type) -> list[MemberDescriptorType]:
    """Return the slots that instances of a class have."""
    return [slot for each in cls.__mro__ for slot in own_slots(each)]
