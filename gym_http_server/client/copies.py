"""`Remade`: a mixin whose copies and pickles call the constructor again with the same arguments."""

from __future__ import annotations

import copy
import inspect
import os
import pickle
import sys
from typing import Any, Final, Self

KEY_VARIABLE: Final = "GYM_HTTP_SERVER_API_KEY"


class Remade:
    """A mixin for objects with a state on a server, which a copy must not share.

    A pickle does not contain the API key: unpickling reads it from the variable GYM_HTTP_SERVER_API_KEY. Only pickles for
    a process that `multiprocessing` is starting contain it.
    """

    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note the arguments."""
        new = super().__new__(cls)
        new._arguments = args, kwargs
        return new

    def __copy__(self) -> Self:
        args, kwargs = self._arguments
        return type(self)(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        args, kwargs = copy.deepcopy(self._arguments, memo)
        return type(self)(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        args, kwargs = self._arguments
        if not _is_starting_a_process():
            bound = inspect.signature(type(self)).bind(*args, **kwargs)
            if (bound.arguments.pop("api_key", None) or bound.kwargs.get("api_key")) is not None:
                kwargs = {name: value for name, value in bound.kwargs.items() if name != "api_key"}
                return _remake_with_variable, (type(self), bound.args, kwargs)
        return _remake, (type(self), args, kwargs)


def _is_starting_a_process() -> bool:
    context: Any = sys.modules.get("multiprocessing.context")
    return context is not None and context.get_spawning_popen() is not None


def _remake(cls: type[Remade], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Remade:
    return cls(*args, **kwargs)


def _remake_with_variable(cls: type[Remade], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Remade:
    api_key = os.environ.get(KEY_VARIABLE)
    if not api_key:
        raise pickle.UnpicklingError(
            f"a pickled {cls.__name__} does not hold its API key: set the variable {KEY_VARIABLE} where it is unpickled"
        )
    return cls(*args, **{**kwargs, "api_key": api_key})
