"""`OpaqueSpace`: a space of which only the class name and its owner's `sample` and `contains` are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from gymnasium.spaces import Dict, OneOf, Sequence, Space, Tuple

from .value_types import joined

if TYPE_CHECKING:
    from collections.abc import Iterator

STANDARD_NAMES: Final = frozenset(
    ("Box", "Dict", "Discrete", "Graph", "MultiBinary", "MultiDiscrete", "OneOf", "Sequence", "Text", "Tuple")
)
"""Names of descriptors whose kinds every client knows."""


class OpaqueSpace(Space[Any]):
    """A space of a kind that is not Gymnasium's own.

    Args:
        name: the name of its class.
        shape, dtype: of its values, where they are arrays of numbers.
        owner: has `sample` and `contains`, and may have `seed`; None if there is nothing to ask.

    Attributes:
        is_remote: its owner is asked by requests.
    """

    is_remote = False

    def __init__(
        self, name: str, shape: tuple[int, ...] | None = None, dtype: Any = None, owner: Any | None = None
    ) -> None:
        super().__init__(shape, dtype)
        self.name = name
        self.owner = owner

    @classmethod
    def of(cls, space: Any) -> OpaqueSpace:
        """Return an equal of a space of any library."""
        shape, dtype = array_type(space) or (None, None)
        return cls(class_name(space), shape, dtype, space)

    def bind(self, owner: Any) -> None:
        """Ask a remote owner from now on."""
        self.owner, self.is_remote = owner, True

    def sample(self, mask: Any = None, probability: Any = None) -> Any:  # noqa: ARG002 -- Gymnasium's signature
        """Return a random value.

        Raises:
            RuntimeError: the space is a copy without its environment.
        """
        if self.owner is None:
            raise RuntimeError(f"{self} cannot be sampled: it is a pickled copy, and its environment is elsewhere")
        return self.owner.sample()

    def contains(self, x: Any) -> bool:
        """Return whether a value is a member, as far as that is known: every value is one of a pickled copy."""
        return self.owner is None or bool(self.owner.contains(x))

    def seed(self, seed: Any = None) -> Any:
        """Seed `sample`, where its owner takes a seed."""
        own = getattr(self.owner, "seed", None)
        return super().seed(seed) if own is None else own(seed)

    @property
    def is_np_flattenable(self) -> bool:
        """False: the form of its values is not known."""
        return False

    def __repr__(self) -> str:
        return f"{self.name}()"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OpaqueSpace):
            return NotImplemented
        return (self.name, self.shape, self.dtype) == (other.name, other.shape, other.dtype)

    __hash__ = None  # type: ignore[assignment]  # as every space

    def __deepcopy__(self, memo: dict[int, Any]) -> OpaqueSpace:
        # Batches copy the space of a lane, and the copies ask the same owner.
        made = OpaqueSpace(self.name, self._shape, self.dtype, self.owner)
        made.is_remote = self.is_remote
        return made

    def __reduce__(self) -> Any:
        return OpaqueSpace, (self.name, self._shape, self.dtype)


def array_type(space: Space[Any]) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Return shape and dtype of the values, if a space declares that they are arrays of numbers or booleans."""
    try:
        shape, dtype = space.shape, space.dtype
        if shape is None or dtype is None:
            return None
        dtype = np.dtype(dtype)
        return (tuple(map(int, shape)), dtype) if dtype.kind in "biuf" and dtype.itemsize <= 8 else None
    except Exception:  # noqa: BLE001 -- third-party code may raise anything
        return None


def class_name(space: Space[Any]) -> str:
    """Return the class name of a space of another kind, which is never the name of a standard kind."""
    if isinstance(space, OpaqueSpace):
        return f"own.{space.name}" if space.name in STANDARD_NAMES else space.name
    kind = type(space)
    return f"{kind.__module__}.{kind.__qualname__}" if kind.__name__ in STANDARD_NAMES else kind.__name__


def parts(space: Space[Any]) -> dict[str, Space[Any]]:
    """Return the spaces directly inside a space, by their JSON pointers in its descriptor."""
    if isinstance(space, Dict):
        return {joined("/spaces", key): part for key, part in space.spaces.items()}
    if isinstance(space, Tuple | OneOf):
        return {f"/spaces/{at}": part for at, part in enumerate(space.spaces)}
    return {"/space": space.feature_space} if isinstance(space, Sequence) else {}


def part_at(space: Space[Any], pointer: str) -> Space[Any]:
    """Return the space at a JSON pointer in the descriptor of a space; the empty pointer is the space itself.

    Raises:
        ValueError: there is none.
    """
    if not pointer:
        return space
    for start, part in parts(space).items():
        if pointer == start or pointer.startswith(f"{start}/"):
            return part_at(part, pointer[len(start) :])
    raise ValueError(f"there is no space at {pointer!r}, there are {', '.join(parts(space)) or 'none'}")


def opaque_parts(space: Space[Any], pointer: str = "") -> Iterator[tuple[str, OpaqueSpace]]:
    """Yield every opaque space in a space, with its JSON pointer in the descriptor."""
    if isinstance(space, OpaqueSpace):
        yield pointer, space
    for start, part in parts(space).items():
        yield from opaque_parts(part, pointer + start)
