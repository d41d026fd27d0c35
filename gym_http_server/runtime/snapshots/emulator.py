"""The Arcade Learning Environment with sticky actions: the action that it repeats is part of no state that it clones.

With a probability, `repeat_action_probability`, ALE takes the action before instead of the one it is given. Which that was it
keeps beside its state, so that a state that was restored might go on with an action of another time. Here the actions are
remembered, and the generator tells which of them were taken: it is a `std::mt19937` at the end of the state, in the form that
C++'s libraries for Linux write, and draws one number for each action. (Seen with ale-py 0.12.1, and held by the tests.)
"""

from __future__ import annotations

import collections
import re
import weakref
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from .saved import NotWalkableError

if TYPE_CHECKING:
    from .saved import SavedBuilder

PROBABILITY: Final = "repeat_action_probability"

REMEMBERED: Final = 256
"""How many actions are remembered; that as many are not taken one after another happens nowhere."""

NOOP: Final = (0, 1.0)
"""What is repeated before the first action."""

_WORDS: Final = 624
_GENERATOR: Final = re.compile(rb"\x00\x00((?:\d{1,10} ){624}\d{1,3})")
_TAIL: Final = 8192
"""Bytes at the end of a state that the generator of sticky actions is in, and no other as a whole."""


class State(NamedTuple):
    """A whole state of an emulator.

    Attributes:
        cloned: what ALE clones.
        recent: the actions that it was given before, the latest last.
        repeated: the action that it repeats next, where it does.
        wait: how many actions from then on are needed for one to be taken.
    """

    cloned: Any
    recent: tuple[tuple[Any, float], ...]
    repeated: tuple[Any, float] | None
    wait: int


class Emulator:
    """An `ale_py.ALEInterface` that remembers the actions it is given; it has the methods of one.

    Args:
        interface: what it stands for, with a ROM that was given no action yet.
    """

    def __init__(self, interface: Any) -> None:
        for name in dir(interface):
            if not name.startswith("__"):
                setattr(self, name, getattr(interface, name))
        self._interface = interface  # as long as this lives, its id is no other's
        _EMULATORS[id(interface)] = self
        self._recent = recent = collections.deque((NOOP,), maxlen=REMEMBERED)
        self._restore, self._repeat = interface.restoreState, interface.act
        act, load = interface.act, interface.loadROM

        def remembering(action: Any, paddle_strength: float = 1.0) -> Any:
            recent.append((action, paddle_strength))
            return act(action, paddle_strength)

        def forgetting(path: Any) -> Any:
            loaded = load(path)
            recent.clear()
            recent.append(NOOP)
            return loaded

        self.act: Any = remembering
        self.loadROM: Any = forgetting

    def save(self) -> State:
        """Return the state; it stays as it is.

        Raises:
            NotWalkableError: it cannot be told which action is repeated.
        """
        cloned = self.cloneState(include_rng=True)  # type: ignore[attr-defined]
        recent = tuple(self._recent)
        probability = self.getFloat(PROBABILITY)  # type: ignore[attr-defined]
        if not 0 < probability < 1:  # what is repeated never matters, or never changes
            return State(cloned, recent, None, 0)
        draws = _Draws(cloned)
        wait = draws.until(probability)
        repeated = None if wait == 1 else recent[-draws.since(probability, len(recent))]
        return State(cloned, recent, repeated, wait)

    def load(self, state: State) -> None:
        """Go back to a state."""
        if state.repeated is not None:
            self._restore(state.cloned)
            for _ in range(state.wait):
                self._repeat(*state.repeated)
        self._restore(state.cloned)
        self._recent.clear()
        self._recent.extend(state.recent)


_EMULATORS: Final[weakref.WeakValueDictionary[int, Emulator]] = weakref.WeakValueDictionary()
"""Those that there are, by the id of what they stand for."""


def standing_for(interface: Any) -> Emulator | None:
    """Return the emulator that stands for an `ALEInterface`, which wrappers may know by itself; None for none."""
    return _EMULATORS.get(id(interface))


class _Draws:
    """The numbers that the generator in a state draws, and has drawn."""

    def __init__(self, cloned: Any) -> None:
        found = _GENERATOR.search(bytes(cloned.serialize())[-_TAIL:])
        numbers = np.fromstring(found[1], np.int64, sep=" ") if found else np.empty(0, np.int64)
        if len(numbers) != _WORDS + 1 or numbers[-1] % 2 or numbers[-1] > _WORDS:
            raise NotWalkableError(
                f"cannot tell which action ALE repeats: create it with {PROBABILITY} 0 to save its state"
            )
        self._key = numbers[:-1].astype(np.uint32)
        self._at = int(numbers[-1]) // 2
        self._block = _doubles(_tempered(self._key))

    def until(self, probability: float) -> int:
        """Return how many actions from now on are needed for one to be taken."""
        taken = self._block[self._at :] >= probability
        if not taken.any():
            generator = np.random.MT19937()
            generator.state = {"bit_generator": "MT19937", "state": {"key": self._key, "pos": _WORDS}}
            taken = np.concatenate((taken, _doubles(generator.random_raw(_WORDS)) >= probability))
        return _first(taken)

    def since(self, probability: float, count: int) -> int:
        """Return how many actions ago one was taken last; of so many there have been, the first counts as taken."""
        taken = self._block[: self._at][::-1] >= probability
        if not taken.any() and len(taken) < count - 1:
            taken = np.concatenate((taken, _doubles(_tempered(_untwisted(self._key)))[::-1] >= probability))
        if count < REMEMBERED:
            taken = np.append(taken[: count - 1], True)
        return _first(taken)


def _first(taken: np.ndarray[Any, Any]) -> int:
    if not taken[:REMEMBERED].any():
        raise NotWalkableError("cannot tell which action ALE repeats, for it has repeated too many")
    return int(np.argmax(taken)) + 1


def _doubles(words: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the numbers between 0 and 1 that are made of two words each, the first of which counts for more."""
    made: np.ndarray[Any, Any] = (words[0::2].astype(np.float64) * 2.0**32 + words[1::2]) / 2.0**64
    return made


def _tempered(key: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the words that MT19937 makes of its state."""
    y = key ^ (key >> np.uint32(11))
    y = y ^ ((y << np.uint32(7)) & np.uint32(0x9D2C5680))
    y = y ^ ((y << np.uint32(15)) & np.uint32(0xEFC60000))
    made: np.ndarray[Any, Any] = y ^ (y >> np.uint32(18))
    return made


def _untwisted(key: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the state of MT19937 that another one follows."""
    upper, lower, matrix = 0x80000000, 0x7FFFFFFF, 0x9908B0DF
    words: list[int] = key.tolist()
    for i in reversed(range(_WORDS)):
        mixed = words[i] ^ words[(i + 397) % _WORDS]
        mixed ^= matrix if mixed & upper else 0
        word = (mixed << 1) & upper
        mixed = words[i - 1] ^ words[(i + 396) % _WORDS]
        if mixed & upper:
            mixed ^= matrix
            word |= 1
        words[i] = word | ((mixed << 1) & lower)
    return np.array(words, np.uint32)


def remember_actions(environment: Any) -> None:
    """Have an environment of ALE with sticky actions remember those that it is given; leave any other as it is."""
    inner = environment.unwrapped
    interface = getattr(inner, "ale", None)
    if interface is not None and type(interface).__name__ == "ALEInterface" and interface.getFloat(PROBABILITY) > 0:
        inner.ale = Emulator(interface)


def _load(emulator: Emulator, state: State) -> None:
    emulator.load(state)


def visit(emulator: Emulator, builder: SavedBuilder) -> None:
    """Save an emulator."""
    builder.foreign.append((_load, Emulator.save, emulator, emulator.save()))
    builder.needs_frame = True
