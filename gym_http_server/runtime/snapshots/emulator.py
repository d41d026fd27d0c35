"""Sticky actions of the Arcade Learning Environment: saves the action that ALE repeats, which its cloned state lacks.

With probability `repeat_action_probability` ALE repeats the action that it took last instead of the given one. That action is
not in the cloned state, so a restored state could repeat an action of another time. Here the given actions are remembered, and
ALE's generator shows which of them were taken: it is a `std::mt19937` at the end of the state, in the text form of C++
libraries for Linux, and draws one number per action. (Seen with ale-py 0.12.1; the tests check it.)
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

MAX_REMEMBERED_ACTIONS: Final = 256
"""More repetitions in a row do not happen in practice."""

NOOP: Final = (0, 1.0)
"""The action, and its paddle strength, that is repeated before the first one."""

_WORDS: Final = 624
_GENERATOR: Final = re.compile(rb"\x00\x00((?:\d{1,10} ){624}\d{1,3})")
_TAIL_BYTES: Final = 8192
"""Bytes at the end of a state that contain this generator, and no other one completely."""


class State(NamedTuple):
    """The complete state of an emulator.

    Attributes:
        cloned: ALE's own state.
        recent: the actions given before, the latest last.
        repeated: the action that it would repeat next, or None.
        wait: how many more actions until one is taken.
    """

    cloned: Any
    recent: tuple[tuple[Any, float], ...]
    repeated: tuple[Any, float] | None
    wait: int


class Emulator:
    """Stands in for an `ale_py.ALEInterface` and remembers the actions given to it.

    Args:
        interface: the real one, with a ROM that was given no action yet.
    """

    def __init__(self, interface: Any) -> None:
        for name in dir(interface):
            if not name.startswith("__"):
                setattr(self, name, getattr(interface, name))
        self._interface = interface  # keeps its id from being reused
        _EMULATORS[id(interface)] = self
        self._recent = recent = collections.deque((NOOP,), maxlen=MAX_REMEMBERED_ACTIONS)
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
        """Return the state, without changing it.

        Raises:
            NotWalkableError: the repeated action cannot be found out.
        """
        cloned = self.cloneState(include_rng=True)  # type: ignore[attr-defined]
        recent = tuple(self._recent)
        probability = self.getFloat(PROBABILITY)  # type: ignore[attr-defined]
        if not 0 < probability < 1:  # the repeated action never matters, or never changes
            return State(cloned, recent, None, 0)
        draws = _Draws(cloned)
        wait = draws.until(probability)
        repeated = None if wait == 1 else recent[-draws.since(probability, len(recent))]
        return State(cloned, recent, repeated, wait)

    def load(self, state: State) -> None:
        """Restore a state."""
        if state.repeated is not None:
            self._restore(state.cloned)
            for _ in range(state.wait):
                self._repeat(*state.repeated)
        self._restore(state.cloned)
        self._recent.clear()
        self._recent.extend(state.recent)


_EMULATORS: Final[weakref.WeakValueDictionary[int, Emulator]] = weakref.WeakValueDictionary()
"""All emulators, by the id of the interface."""


def emulator_of(interface: Any) -> Emulator | None:
    """Return the emulator that stands in for an `ALEInterface`, to which wrappers may hold a reference, or None."""
    return _EMULATORS.get(id(interface))


class _Draws:
    """The past and future numbers of the generator in a state."""

    def __init__(self, cloned: Any) -> None:
        match = _GENERATOR.search(bytes(cloned.serialize())[-_TAIL_BYTES:])
        numbers = np.fromstring(match[1], np.int64, sep=" ") if match else np.empty(0, np.int64)
        if len(numbers) != _WORDS + 1 or numbers[-1] % 2 or numbers[-1] > _WORDS:
            raise NotWalkableError(
                f"cannot tell which action ALE repeats: create it with {PROBABILITY} 0 to save its state"
            )
        self._key = numbers[:-1].astype(np.uint32)
        self._at = int(numbers[-1]) // 2
        self._block = _doubles(_tempered(self._key))

    def until(self, probability: float) -> int:
        """Return how many more actions until one is taken."""
        taken = self._block[self._at :] >= probability
        if not taken.any():
            generator = np.random.MT19937()
            generator.state = {"bit_generator": "MT19937", "state": {"key": self._key, "pos": _WORDS}}
            taken = np.concatenate((taken, _doubles(generator.random_raw(_WORDS)) >= probability))
        return _first(taken)

    def since(self, probability: float, count: int) -> int:
        """Return how many actions ago one was taken last; of all `count` remembered actions the first counts as taken."""
        taken = self._block[: self._at][::-1] >= probability
        if not taken.any() and len(taken) < count - 1:
            taken = np.concatenate((taken, _doubles(_tempered(_untwisted(self._key)))[::-1] >= probability))
        if count < MAX_REMEMBERED_ACTIONS:
            taken = np.append(taken[: count - 1], True)
        return _first(taken)


def _first(taken: np.ndarray[Any, Any]) -> int:
    if not taken[:MAX_REMEMBERED_ACTIONS].any():
        raise NotWalkableError("cannot tell which action ALE repeats, for it has repeated too many")
    return int(np.argmax(taken)) + 1


def _doubles(words: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return numbers from 0 to 1, each made of two words, the high one first."""
    doubles: np.ndarray[Any, Any] = (words[0::2].astype(np.float64) * 2.0**32 + words[1::2]) / 2.0**64
    return doubles


def _tempered(key: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the output words of a state of MT19937."""
    y = key ^ (key >> np.uint32(11))
    y = y ^ ((y << np.uint32(7)) & np.uint32(0x9D2C5680))
    y = y ^ ((y << np.uint32(15)) & np.uint32(0xEFC60000))
    words: np.ndarray[Any, Any] = y ^ (y >> np.uint32(18))
    return words


def _untwisted(key: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the state of MT19937 before the given one."""
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
    """Replace the interface of an ALE environment with sticky actions by an `Emulator`; other environments stay unchanged."""
    inner = environment.unwrapped
    interface = getattr(inner, "ale", None)
    if interface is not None and type(interface).__name__ == "ALEInterface" and interface.getFloat(PROBABILITY) > 0:
        inner.ale = Emulator(interface)


def visit(emulator: Emulator, builder: SavedBuilder) -> None:
    """Save an emulator."""
    builder.add_foreign(emulator, Emulator.save, Emulator.load)
    builder.needs_frame = True
