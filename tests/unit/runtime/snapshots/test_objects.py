"""What is saved of each kind of object and put back in its place, and what is refused: without a server."""

from __future__ import annotations

import array
import collections
import ctypes
import dataclasses
import enum
import functools
import io
import itertools
import operator
import queue
import random
import socket
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pygame
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from gym_http_server.errors import NotCopyableError, TooManySnapshotsError, UnknownSnapshotError
from gym_http_server.runtime.snapshots.emulator import (
    MAX_REMEMBERED_ACTIONS,
    Emulator,
    _tempered,
    _untwisted,
    remember_actions,
)
from gym_http_server.runtime.snapshots.saved import NotWalkableError
from gym_http_server.runtime.snapshots.snapshots import Snapshots
from gym_http_server.runtime.snapshots.visitors import Visitors, is_plain
from gym_http_server.runtime.snapshots.walk import Walk
from tests.support.sample_spaces import SAMPLE_SPACES, same


class Thing:
    """Holds whatever a test gives it."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


class Slotted:
    __slots__ = ("__weakref__", "a", "b")


class Both(Slotted):
    """Has slots and attributes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    items: list[int]


class Key(Thing):
    """Is told from others by what it is, not by what it holds."""


Row = collections.namedtuple("Row", "x y")  # noqa: PYI024 -- the old form is in use


class Numbered(int):
    """A number with attributes."""


class Rude(list[Any]):
    """A list with its own idea of everything."""

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("not now")

    def __len__(self) -> int:
        return 0

    def __setitem__(self, *_: Any) -> None:
        raise RuntimeError("never")


class Stubborn(dict[Any, Any]):
    """A dict with its own idea of everything."""

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("not now")

    def __setitem__(self, *_: Any) -> None:
        raise RuntimeError("never")

    def update(self, *_: Any) -> None:
        raise RuntimeError("never")

    def clear(self) -> None:
        raise RuntimeError("never")

    def copy(self) -> Any:
        raise RuntimeError("never")


class Colour(enum.Enum):
    RED = 1


def save(*roots: Any) -> Any:
    walk = Walk(Visitors(), {})
    walk.go(roots)
    return walk.finish()


def check(value: Any, change: Callable[[Any], Any], read: Callable[[Any], Any]) -> None:
    """Assert that what `read` tells of a value is as before, however often it is changed and put back."""
    holder = Thing(value=value)
    before = repr(read(value))
    saved = save(holder)
    for _ in range(3):
        change(value)
        assert repr(read(value)) != before
        holder.value, holder.more = None, 1
        saved.put_back()
        assert holder.__dict__.keys() == {"value"}
        assert holder.value is value
        assert repr(read(value)) == before


def slotted(cls: type = Slotted, **attributes: Any) -> Any:
    made = cls()
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


CONTENTS: dict[str, tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "list": ([1, [2], 3], lambda v: (v[1].append(5), v.reverse(), v.pop()), list),
    "dict": ({"a": [1], "b": 2}, lambda v: (v.pop("a").append(2), v.update(c=3, a=0)), lambda v: list(v.items())),
    "dict whose order changes": ({"a": 1, "b": 2}, lambda v: v.update(a=v.pop("a")), lambda v: list(v.items())),
    "dict with objects as keys": ({(1, Key(x=[])): 3}, lambda v: next(iter(v))[1].x.append(1), lambda v: [vars(key[1]) for key in v]),
    "set": ({1, 2, 3}, lambda v: (v.discard(1), v.add(9)), sorted),
    "tuple": (([1], 2), lambda v: v[0].append(2), list),
    "frozenset": (frozenset({Numbered(5)}), lambda v: setattr(next(iter(v)), "n", 1), lambda v: [vars(e) for e in v]),
    "deque": (collections.deque([1, 2], maxlen=3), lambda v: (v.append(3), v.append(4)), lambda v: (list(v), v.maxlen)),
    "defaultdict": (collections.defaultdict(list, a=[1]), lambda v: v["b"].append(1), lambda v: list(v.items())),
    "OrderedDict": (collections.OrderedDict(a=1, b=2), lambda v: v.move_to_end("a"), lambda v: list(v.items())),
    "Counter": (collections.Counter("abb"), lambda v: v.update("abc"), lambda v: sorted(v.items())),
    "bytearray": (bytearray(b"abc"), lambda v: v.extend(b"d"), bytes),
    "array.array": (array.array("d", [1.0]), lambda v: v.append(2.0), list),
    "attributes": (Thing(a=1, b=[2]), lambda v: (v.b.append(3), setattr(v, "c", 1), delattr(v, "a")), vars),
    "slots": (slotted(a=[1]), lambda v: (v.a.append(2), setattr(v, "b", 3)), lambda v: (v.a, hasattr(v, "b"))),
    "an unset slot": (slotted(b=1), lambda v: delattr(v, "b"), lambda v: (hasattr(v, "a"), hasattr(v, "b"))),
    "slots and attributes": (slotted(Both, a=1, c=2), lambda v: (setattr(v, "a", 2), setattr(v, "c", 3)), lambda v: (v.a, v.c)),
    "frozen dataclass": (Frozen([1]), lambda v: v.items.append(2), lambda v: v.items),
    "namedtuple": (Row([1], 2), lambda v: v.x.append(2), list),
    "SimpleNamespace": (types.SimpleNamespace(a=1), lambda v: setattr(v, "b", 1), vars),
    "subclass of int": (Numbered(3), lambda v: setattr(v, "a", 1), vars),
    "exception": (ValueError("x"), lambda v: setattr(v, "a", 1), vars),
    "queue": (queue.Queue(), lambda v: v.put(1), lambda v: list(v.queue)),
    "StringIO": (io.StringIO("abc"), lambda v: (v.read(1), v.seek(9), v.write("d")), lambda v: (v.getvalue(), v.tell())),
    "BytesIO": (io.BytesIO(b"abc"), lambda v: v.read(2), lambda v: (v.getvalue(), v.tell())),
    "ndarray": (np.arange(4.0), lambda v: v.__setitem__(1, np.nan), lambda v: v.tolist()),
    "0-d ndarray": (np.array(3), lambda v: v.__setitem__((), 4), lambda v: v.tolist()),
    "ndarray of objects": (np.array([[1], "a", None], object), lambda v: (v[0].append(2), v.__setitem__(2, 1)), lambda v: v.tolist()),
    "structured ndarray": (np.zeros(2, [("a", "i4"), ("b", "f8")]), lambda v: v["b"].__setitem__(0, 1.5), lambda v: v.tolist()),
    "ndarray in Fortran's order": (np.arange(6).reshape(2, 3).T, lambda v: v.__setitem__((0, 0), 9), lambda v: (v.tolist(), v.strides)),
    "masked array": (np.ma.MaskedArray([1, 2], [False, True]), lambda v: v.__setitem__(1, 5), lambda v: (v.data.tolist(), v.mask.tolist())),
    "matrix": (np.arange(4).reshape(2, 2).view(np.matrix), lambda v: v.__setitem__((0, 0), 9), lambda v: v.tolist()),
    "generator": (np.random.default_rng(1), lambda v: v.random(), lambda v: v.bit_generator.state),
    "spawning generator": (np.random.default_rng(1), lambda v: v.spawn(2), lambda v: v.bit_generator.seed_seq.n_children_spawned),
    "RandomState": (np.random.RandomState(1), lambda v: v.randn(), lambda v: v.get_state()),
    "MT19937": (np.random.MT19937(1), lambda v: v.random_raw(), lambda v: v.state),
    "random.Random": (random.Random(1), lambda v: v.gauss(0, 1), lambda v: v.getstate()),
    "pygame.Rect": (pygame.Rect(1, 2, 3, 4), lambda v: v.move_ip(1, 1), tuple),
    "pygame.Vector2": (pygame.Vector2(1, 2), lambda v: v.rotate_ip(90), tuple),
    "pygame.Color": (pygame.Color(1, 2, 3), lambda v: setattr(v, "r", 9), tuple),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTENTS)
def test_the_content_of_an_object_is_put_back_into_the_same_object(name: str) -> None:
    """Whatever was done to it, and whatever has taken its place, it is there again as it was."""
    check(*CONTENTS[name])


def test_subclasses_with_their_own_idea_of_things_are_saved_all_the_same() -> None:
    """The methods of a subclass are not asked."""
    rude, stubborn = Rude(), Stubborn()
    list.append(rude, 1)
    dict.__setitem__(stubborn, "a", 1)
    saved = save(rude, stubborn)
    list.append(rude, 2)
    dict.__setitem__(stubborn, "b", 2)
    saved.put_back()
    assert list.__repr__(rude) == "[1]"
    assert dict.__repr__(stubborn) == "{'a': 1}"


def test_views_stay_views_and_aliases_stay_aliases() -> None:
    """What was one memory or one object is one afterwards, which no copy of them would be."""
    whole = np.zeros(6)
    thing = Thing(part=whole[2:4], whole=whole, one=[1], frozen=whole.view())
    thing.other = thing.one
    thing.frozen.flags.writeable = False
    saved = save(thing)
    whole[:] = 7
    thing.one.append(2)
    thing.part, thing.other = None, None
    saved.put_back()
    assert thing.frozen.tolist() == whole.tolist() == [0.0] * 6
    thing.part[:] = 5
    thing.other.append(3)
    assert (whole[2], thing.one) == (5, [1, 3])


def test_what_only_a_read_only_view_leads_to_is_saved() -> None:
    """The array that it is a view of may change under it."""
    below = np.zeros(3)
    view = below[:]
    view.flags.writeable = False
    saved = save(Thing(view=view))
    below[:] = 1
    saved.put_back()
    assert view.tolist() == [0, 0, 0]


def test_an_array_that_became_read_only_is_restored_and_one_that_was_resized_is_refused() -> None:
    """A refusal comes before anything is put back."""
    fixed, resized, other = np.zeros(2), np.zeros(2), [1]
    saved = save(fixed, other)
    fixed[:] = 1
    fixed.flags.writeable = False
    saved.put_back()
    assert (fixed.tolist(), fixed.flags.writeable) == ([0, 0], True)
    saved = save(fixed, resized, other)
    other.append(2)
    fixed[:] = 3
    resized.resize(3, refcheck=False)
    with pytest.raises(NotCopyableError, match="shape"):
        saved.put_back()
    assert (fixed.tolist(), other) == ([3, 3], [1, 2])


def test_what_a_defaultdict_makes_its_items_with_is_part_of_the_state() -> None:
    """A factory that counts makes the same item again."""

    class Factory:
        def __init__(self) -> None:
            self.count = 0

        def __call__(self) -> int:
            self.count += 1
            return self.count

    thing = Thing(items=collections.defaultdict(Factory()))
    assert thing.items["a"] == 1
    saved = save(thing)
    assert (thing.items["b"], thing.items["c"]) == (2, 3)
    saved.put_back()
    assert list(thing.items) == ["a"]
    assert thing.items["d"] == 2


def test_closures_bound_methods_and_defaults_are_part_of_the_state() -> None:
    """Data that only a function leads to is saved, and the function sees it restored."""

    def counter() -> Callable[[], int]:
        count = 0
        log: list[int] = []

        def step(seen: list[int] = []) -> int:  # noqa: B006 -- that it is kept is the point
            nonlocal count
            count += 1
            log.append(count)
            seen.append(count)
            return len(log) + len(seen) + count

        return step

    class Machine:
        def __init__(self) -> None:
            self.total = 0

        def add(self, by: int) -> int:
            self.total += by
            return self.total

    items: list[int] = []
    thing = Thing(
        step=counter(),
        add=Machine().add,
        twice=functools.partial(Machine().add, 2),
        append=items.append,
        view=types.MappingProxyType({"a": [1]}),
        memory=memoryview(bytearray(b"ab")),
    )
    thing.step()
    saved = save(thing)
    futures = []
    for _ in range(3):
        futures.append([thing.step(), thing.step(), thing.add(1), thing.twice(), thing.append(1), len(items)])
        thing.view["a"].append(2)
        thing.memory[0] += 1
        saved.put_back()
        assert (thing.view["a"], bytes(thing.memory)) == ([1], b"ab")
    assert futures == [[6, 9, 1, 2, None, 1]] * 3


def test_an_object_that_was_dropped_comes_back_with_what_refers_to_it() -> None:
    """The state holds on to it, also where it was reached in a circle."""
    node = Thing(value=1)
    node.itself = [node]
    thing = Thing(node=node)
    saved = save(thing)
    thing.node = None
    node.value = 2
    del node
    saved.put_back()
    assert thing.node.value == 1
    assert thing.node.itself[0] is thing.node


def test_a_long_chain_is_walked() -> None:
    """There is no recursion to run out of."""
    last = first = Thing(value=0)
    for _ in range(20_000):
        last.next = Thing(value=0)
        last = last.next
    saved = save(first)
    last.value = 1
    saved.put_back()
    assert last.value == 0


def test_what_never_changes_is_left_alone() -> None:
    """Constants, code, locks, weak references and Python's own streams are no obstacle."""
    thing = Thing()
    kept = (
        *(1, 2.5, "x", b"x", None, ..., range(3), slice(1), 1j, Colour.RED, np.float32(1), np.dtype("f4"), np.add, int),
        *(sys, len, np.random.rand, operator.itemgetter(1), threading.Lock(), threading.RLock(), weakref.ref(thing)),
        *(sys.stdout, sys.stderr, object(), functools.lru_cache(len), itertools, random.SystemRandom(), gymnasium.spec("CartPole-v1")),
        *(pygame.Surface((2, 2)), pygame.time.Clock(), threading.Event(), threading.Condition(), weakref.WeakSet([thing])),
    )  # fmt: skip
    thing.kept = kept
    saved = save(thing)
    thing.kept = None
    saved.put_back()
    assert thing.kept is kept


class Handle(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int),)


def numbers() -> Iterator[int]:
    yield 1


async def wait() -> None:
    """Do nothing."""


REFUSED: dict[str, Callable[[], Any]] = {
    "generator": numbers,
    "list_iterator": lambda: iter([1]),
    "count": itertools.count,
    "TextIOWrapper": lambda: open("/dev/null"),  # noqa: PTH123, SIM115 -- closed below
    "BufferedReader": lambda: open("/dev/null", "rb"),  # noqa: PTH123, SIM115 -- closed below
    "socket": socket.socket,
    "Thread": lambda: threading.Thread(target=wait),
    "_local": threading.local,
    "Popen": lambda: subprocess.Popen([sys.executable, "-c", ""]),
    "CDLL": lambda: ctypes.CDLL(None),
    "Handle": Handle,
    "c_long": lambda: ctypes.c_long(1),
    "SimpleQueue": queue.SimpleQueue,
    "void": lambda: np.zeros(1, "i4,i4")[0],
    "Mask": lambda: pygame.mask.Mask((2, 2)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_python_does_not_see_is_refused_by_name(name: str) -> None:
    """Files, sockets, threads, processes, generators and objects of extensions that are not known cannot be saved."""
    value = REFUSED[name]()
    snapshots = Snapshots(owns_process=True)
    environment = Thing(world=Thing(deep=[{"value": value}]), steps=[1])
    try:
        with pytest.raises(NotCopyableError, match=rf"Thing\.world: cannot copy '{name}' object: "):
            snapshots.create({}, environment, (), render=lambda: None, steps=0, limit=1)
    finally:
        if isinstance(value, subprocess.Popen):
            value.wait()
        elif isinstance(value, io.IOBase | socket.socket):
            value.close()
    assert snapshots.descriptions() == []


def test_a_subclass_of_what_is_refused_is_refused() -> None:
    """Python code around it does not make it seen."""

    class Mine(Handle):
        pass

    class Worker(threading.Thread):
        pass

    for value in (Mine(), Worker()):
        with pytest.raises(NotCopyableError, match=type(value).__name__):
            Snapshots(owns_process=True).create({}, Thing(a=value), (), render=lambda: None, steps=0, limit=1)


def test_code_that_uses_a_module_with_a_state_of_its_own_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class whose module uses PyBullet holds no more than a number of what is elsewhere."""
    module = types.ModuleType("my_bullets")
    module.pybullet = types.ModuleType("pybullet")
    exec("class World: pass", vars(module))  # noqa: S102 -- as a module of its own has it
    monkeypatch.setitem(sys.modules, "my_bullets", module)
    for owns_process in (True, False):
        with pytest.raises(NotCopyableError, match="my_bullets uses pybullet"):
            Snapshots(owns_process=owns_process).create(
                {}, Thing(world=module.World()), (), render=lambda: None, steps=0, limit=1
            )


def test_what_a_class_and_its_module_hold_is_part_of_the_state_in_a_process_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counters, lists and generators beside the code are restored there, and left alone where others have a part in them."""
    module = types.ModuleType("my_worlds")
    code = """
import random, numpy, threading
rng = numpy.random.default_rng(1)
log = []
count = 0
pipe = iter([1])
class World:
    made = 0
    seen = []
    lock = threading.Lock()
    def step(self):
        global count, late
        count += 1
        late = count
        World.made += 1
        World.new = 1
        log.append(count)
        self.seen.append(count)
        return count, len(log), World.made, len(self.seen), rng.random(), random.random(), numpy.random.random()
"""
    monkeypatch.setitem(sys.modules, "my_worlds", module)
    exec(code, vars(module))  # noqa: S102 -- as a module of its own has it
    world = module.World()
    world.step()
    del module.late, module.World.new
    for owns_process in (True, False):
        snapshots = Snapshots(owns_process=owns_process)
        snapshot_id = snapshots.create({}, world, (), render=lambda: None, steps=0, limit=1)
        first = world.step()
        snapshots.get(snapshot_id).saved.put_back()
        assert hasattr(module, "late") is hasattr(module.World, "new") is not owns_process
        assert (world.step() == first) is owns_process


def test_the_generators_of_the_process_are_left_alone_where_others_draw_from_them() -> None:
    """A bound method of one of them is no reason to turn it back for everybody."""
    thing = Thing(draw=random.random, other=np.random.rand)
    snapshots = Snapshots(owns_process=False)
    snapshot_id = snapshots.create({}, thing, (), render=lambda: None, steps=0, limit=1)
    before = (thing.draw(), thing.other())
    snapshots.get(snapshot_id).saved.put_back()
    assert (thing.draw(), thing.other()) != before
    snapshots = Snapshots(owns_process=True)
    snapshot_id = snapshots.create({}, thing, (), render=lambda: None, steps=0, limit=1)
    before = (thing.draw(), thing.other())
    snapshots.get(snapshot_id).saved.put_back()
    assert (thing.draw(), thing.other()) == before


@pytest.mark.parametrize("space", SAMPLE_SPACES)
def test_spaces_sample_the_same_again(space: spaces.Space) -> None:
    """The generators of a space and of those in it are saved, made where they have not been; its bounds are not."""
    if space.dtype == np.longdouble:  # which Gymnasium cannot sample
        return
    saved = save(space)
    first = [space.sample() for _ in range(3)]
    saved.put_back()
    assert all(same(one, other) for one, other in zip(first, (space.sample() for _ in range(3)), strict=True))
    assert len(saved.arrays) == 0


def test_an_environment_that_was_never_seeded_has_the_same_future() -> None:
    """Its generator is made when it is saved: made at its first use, it would be another one each time."""

    class Lazy(gymnasium.Env[Any, Any]):
        observation_space = action_space = spaces.Discrete(2)

        def step(self, action: Any) -> Any:  # noqa: ARG002 -- Gymnasium's signature
            return self.np_random.random()

    env = gymnasium.wrappers.TimeLimit(Lazy(), 9)
    assert env.unwrapped._np_random is None
    saved = save(env)
    first = env.unwrapped.step(0)
    saved.put_back()
    assert env.unwrapped.step(0) == first


def test_the_order_of_a_set_is_the_same_each_time() -> None:
    """It depends on all that was ever in the set, and an environment may iterate over it."""
    numbers_of = {*range(0, 4096, 7)}
    for each in range(0, 4096, 7):
        if each % 64:
            numbers_of.discard(each)
    saved = save(numbers_of)
    futures = []
    for _ in range(3):
        numbers_of.update(range(5000, 50_000, 997))
        futures.append(list(numbers_of))
        saved.put_back()
    assert futures[0] == futures[1] == futures[2]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 500)), max_size=80), st.lists(st.integers(), max_size=20))
def test_the_order_of_any_set_is_the_same_each_time(history: list[tuple[bool, int]], later: list[int]) -> None:
    """Whatever was added and removed before it was saved, and is added afterwards."""
    found: set[int] = set()
    for adds, each in history:
        (found.add if adds else found.discard)(each)
    saved = save(found)
    futures = []
    for _ in range(3):
        found.update(later)
        futures.append(list(found))
        saved.put_back()
    assert futures[0] == futures[1] == futures[2]


def test_large_arrays_that_stay_the_same_are_kept_once() -> None:
    """A map of a hundred megabytes costs its size once and not with each snapshot; the bits decide what is the same."""
    snapshots = Snapshots(owns_process=False)
    thing = Thing(map=np.zeros(100_000), small=np.zeros(3))

    def create() -> Any:
        return snapshots.get(snapshots.create({}, thing, (), render=lambda: None, steps=0, limit=9)).saved

    def content(saved: Any) -> Any:
        return next(content for array, content in saved.arrays if array is thing.map)

    first, second = create(), create()
    assert content(first) is content(second)
    thing.map[5] = -0.0
    third = create()
    assert content(third) is not content(first)
    first.put_back()
    assert not np.signbit(thing.map[5])
    third.put_back()
    assert np.signbit(thing.map[5])


def test_a_restoration_that_fails_changes_nothing() -> None:
    """Where one of the things that may refuse does, those before it are undone."""
    first, second, other = io.StringIO("a"), io.StringIO("b"), [1]
    saved = save(second, first, other)
    first.write("changed")
    second.close()
    other.append(2)
    with pytest.raises(NotCopyableError, match="closed"):
        saved.put_back()
    assert (first.getvalue(), other) == ("changed", [1, 2])


def test_a_model_of_mujoco_that_was_changed_is_put_back() -> None:
    """Environments that change masses, gravity or colours at a reset have the old ones again, and the same future."""
    env = gymnasium.make("Hopper-v5")
    env.reset(seed=1)
    saved = save(env)
    model = env.unwrapped.model
    actions = [env.action_space.sample() for _ in range(5)]
    first = [env.step(action)[0] for action in actions]
    saved.put_back()
    model.body_mass[:] *= 2
    model.opt.gravity[2] = -1
    model.opt.timestep = 0.001
    assert not np.array_equal(env.step(actions[0])[0], first[0])
    saved.put_back()
    assert (model.opt.timestep, model.opt.gravity[2]) == (0.002, -9.81)
    assert all(np.array_equal(env.step(action)[0], then) for action, then in zip(actions, first, strict=True))


def wrapped(env: gymnasium.Env) -> gymnasium.Env:
    wrappers = gymnasium.wrappers
    env = wrappers.RecordEpisodeStatistics(wrappers.TimeLimit(env, 25))
    env = wrappers.NormalizeReward(
        wrappers.NormalizeObservation(wrappers.ClipAction(wrappers.RescaleAction(env, -1, 1)))
    )
    return wrappers.TransformObservation(wrappers.FrameStackObservation(env, 3), lambda x: x * 2, None)


def atari(game: str, **options: Any) -> gymnasium.Env:
    import ale_py

    gymnasium.register_envs(ale_py)
    env = gymnasium.make(f"ALE/{game}-v5", **options)
    return remembering(env)


def remembering(env: gymnasium.Env) -> gymnasium.Env:
    remember_actions(env)
    return env


class Pooled(gymnasium.Wrapper):
    """Observes the larger pixels of two frames, as AtariPreprocessing does: the emulator writes into its buffers."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.ale = env.unwrapped.ale
        self.frames = [np.zeros((210, 160), np.uint8) for _ in range(2)]
        self.observation_space = spaces.Box(0, 255, (210, 160), np.uint8)

    def reset(self, **options: Any) -> Any:
        _, info = self.env.reset(**options)
        return self._observed(), info

    def step(self, action: Any) -> Any:
        _, *rest = self.env.step(action)
        return self._observed(), *rest

    def _observed(self) -> Any:
        self.frames.reverse()
        self.ale.getScreenGrayscale(self.frames[0])
        return np.maximum(*self.frames)


@pytest.mark.parametrize("make", [
    lambda: wrapped(gymnasium.make("Pendulum-v1")),
    lambda: wrapped(gymnasium.make("Swimmer-v5")),
    lambda: gymnasium.wrappers.FrameStackObservation(Pooled(atari("Breakout")), 4),
        lambda: remembering(Pooled(gymnasium.make("ALE/Breakout-v5"))),
    lambda: gymnasium.wrappers.MaxAndSkipObservation(atari("Pong", frameskip=1), 2),
    lambda: atari("Pong", repeat_action_probability=0.0, obs_type="ram"),
    lambda: atari("Breakout", continuous=True, obs_type="ram"),
    lambda: atari("Breakout", frameskip=(2, 5), full_action_space=True, obs_type="ram"),
    lambda: gymnasium.wrappers.DelayObservation(gymnasium.make("Acrobot-v1"), 2),
    lambda: gymnasium.wrappers.StickyAction(gymnasium.make("CartPole-v1"), 0.5),
    lambda: gymnasium.wrappers.TimeAwareObservation(gymnasium.make("MountainCar-v0")),
    lambda: gymnasium.wrappers.RenderCollection(gymnasium.make("CartPole-v1", render_mode="rgb_array")),
])  # fmt: skip
def test_every_layer_is_part_of_the_state(make: Callable[[], gymnasium.Env]) -> None:
    """Statistics, stacks, counters and delays of wrappers give the same future, after an episode's end and a reset, too."""
    with make() as env:
        env.action_space.seed(1)
        env.reset(seed=1)
        play(env, 10)
        saved = save(env)
        first = play(env, 60)
        for _ in range(2):
            env.reset(seed=2)
            play(env, 7)
            saved.put_back()
            assert play(env, 60) == first


def play(env: gymnasium.Env, steps: int) -> list[Any]:
    """Return what a number of random steps are answered, with a reset after each episode, to the bit."""
    told = []
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        told.append((np.asarray(observation).tobytes(), float(reward), terminated, truncated))
        if terminated or truncated:
            told.append(np.asarray(env.reset()[0]).tobytes())
    return told


def test_the_classes_of_extensions_are_told_from_pythons_own() -> None:
    """A class that Python code defines holds nothing that Python does not see, whatever it is made of."""
    plain = (Thing, Slotted, Both, Frozen, Row, Rude, Numbered, gymnasium.Env, types.SimpleNamespace, queue.Queue)
    assert all(map(is_plain, plain))
    opaque = (np.ndarray, np.random.Generator, itertools.count, socket.socket.__base__, pygame.Rect, re_of(), OSError)
    assert not any(map(is_plain, opaque))


def re_of() -> type:
    import re

    return re.Pattern


def test_snapshots_have_ids_of_their_own_and_a_limit() -> None:
    """They are told in the order in which they were made; an id is never used again."""
    snapshots = Snapshots(owns_process=False)

    def create() -> str:
        return snapshots.create({"a": 1}, Thing(), (), render=lambda: None, steps=7, limit=2)

    assert [create(), create()] == ["00000001", "00000002"]
    with pytest.raises(TooManySnapshotsError, match=r"2 snapshots and the limit is 2: .* --max-snapshots"):
        create()
    snapshots.delete("00000001")
    for refused in (snapshots.get, snapshots.delete):
        with pytest.raises(UnknownSnapshotError, match="'00000001'"):
            refused("00000001")
    assert create() == "00000003"
    assert [(each["snapshot_id"], each["steps"]) for each in snapshots.descriptions()] == [
        ("00000002", 7),
        ("00000003", 7),
    ]


def test_a_snapshot_that_is_forgotten_frees_what_it_held() -> None:
    """Nothing else holds on to an object that the environment has dropped."""
    snapshots = Snapshots(owns_process=False)
    thing = Thing(a=Thing())
    dropped = weakref.ref(thing.a)
    snapshot_id = snapshots.create({}, thing, (), render=lambda: None, steps=0, limit=1)
    thing.a = None
    assert dropped() is not None
    snapshots.delete(snapshot_id)
    assert dropped() is None


@pytest.mark.full
@pytest.mark.parametrize(
    ("game", "probability"),
    [
        ("Pong", 0.25),
        ("Breakout", 0.25),
        ("SpaceInvaders", 0.9),
        ("Pong", 0.6),
    ],
)
def test_the_action_that_ale_repeats_is_part_of_the_state(game: str, probability: float) -> None:
    """With sticky actions the next one may be that of before, which ALE's own clone of a state does not have."""
    env = atari(game, frameskip=1, repeat_action_probability=probability, obs_type="ram").unwrapped
    env.reset(seed=1)
    draw = np.random.default_rng(0)
    matters = 0

    def act(actions: Any, *, first_resets: bool) -> list[Any]:
        if first_resets:
            env.reset()
        return [(env.step(int(action))[0].tobytes(), env.ale.cloneState().serialize()) for action in actions]

    for count in range(330):
        # More than the generator draws at a time, so that it also goes over from one block to the next.
        env.step(int(draw.integers(env.action_space.n)))
        state = env.ale.save()
        matters += state.repeated is not None
        if state.repeated is None and count % 8:
            continue
        actions = draw.integers(env.action_space.n, size=6)
        first_resets = count % 3 == 0
        expected = act(actions, first_resets=first_resets)
        if count % 5 == 0:
            env.reset(seed=5)
        act(draw.integers(env.action_space.n, size=3), first_resets=False)
        env.ale.load(state)
        assert act(actions, first_resets=first_resets) == expected
        env.ale.load(state)
    assert abs(matters / 330 - probability) < 0.1


def test_an_action_that_cannot_be_told_is_a_refusal() -> None:
    """Where ALE was given actions that nobody remembers, its generator is none that is known, or it never takes one."""
    env = atari("Pong", frameskip=1)
    assert isinstance(env.unwrapped.ale, Emulator)
    env.reset(seed=1)

    class Odd:
        def serialize(self) -> bytes:
            return b"another form"

    kept = env.unwrapped.ale.cloneState
    env.unwrapped.ale.cloneState = lambda **_: Odd()
    with pytest.raises(NotWalkableError, match="repeat_action_probability 0"):
        save(env)
    env.unwrapped.ale.cloneState = kept
    env.unwrapped.ale.getFloat = lambda _: 1 - 1e-12
    for _ in range(MAX_REMEMBERED_ACTIONS):
        env.step(0)
    with pytest.raises(NotWalkableError, match="too many"):
        save(env)
    env.unwrapped.ale.getFloat = lambda _: 1.0  # it repeats the first for ever
    save(env)
    import ale_py

    interface = ale_py.ALEInterface()
    with pytest.raises(NotWalkableError, match="which action ALE repeats"):
        save(interface)
    interface.setFloat("repeat_action_probability", 0.0)
    interface.loadROM(ale_py.roms.get_rom_path("pong"))
    assert save(interface).needs_frame


def test_the_generator_of_sticky_actions_is_wound_back() -> None:
    """The state before a block of numbers is made of the one after it."""
    generator = np.random.MT19937(7)
    generator.random_raw(1)  # NumPy begins with the last of a block
    before = generator.state["state"]["key"]
    words = generator.random_raw(624)
    after = generator.state["state"]["key"]
    assert (_tempered(after) == words).all()
    assert (_untwisted(after)[1:] == before[1:]).all()


def test_environments_that_have_no_sticky_actions_are_left_as_they_are() -> None:
    """Nothing stands between them and what they call."""
    for env in (gymnasium.make("CartPole-v1"), atari("Pong", repeat_action_probability=0.0)):
        before = dict(vars(env.unwrapped))
        remember_actions(env)
        assert vars(env.unwrapped) == before
