"""The guest: makes environments in a Python other than the server's, steps and renders them, and adapts old ones.

It is sent, as one text with `wire.py` and `library_spaces.py`, to a command that starts a Python 3.7 or later with numpy. Frames come on descriptor 0 and
go out on 1: a socket pair, or two pipes behind a program such as ssh. What environments print goes to stderr.
"""

from __future__ import annotations

import array
import contextlib
import difflib
import enum
import faulthandler
import gc
import importlib
import inspect
import os
import random
import socket
import sys
import traceback
import warnings

import numpy as np

from .library_spaces import contains, describe, fitted, kind_of
from .wire import (
    CLOSE,
    CONTROLS,
    CREATE,
    ERROR,
    FORK,
    HEADER,
    HELLO,
    REGISTRY,
    RENDER,
    RESET,
    RESULT,
    SPACE,
    STEP,
    STEPS,
    frame,
    outcome,
    text_of,
    unpack,
)

MARKER = b"\0gym-http-server guest 1\n"
"""Written once before the first frame: what a program such as ssh wrote before is skipped."""
READY, FORKED, NOT_FORKABLE = b"r", b"f", b"n"
"""What a host says: that it takes requests to fork, and how each went."""
LAYERS = frozenset(["TimeLimit", "OrderEnforcing", "PassiveEnvChecker", "StepAPICompatibility"])
"""Outermost wrappers of the libraries' `make` that are taken off: they refuse what older environments return."""


class Refusal(Exception):
    """A request that cannot be served: its error's class is named by `kind`."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


class Lane:
    """One environment with the interface of Gymnasium, whichever version made it."""

    def __init__(self, env, mode, limit, module):
        while type(env).__name__ in LAYERS and type(env).__module__.split(".")[0] in ("gym", "gymnasium"):
            limit = limit or getattr(env, "_max_episode_steps", None)
            env = env.env
        self.env = env
        self.mode = mode
        self.limit = limit if type(limit) is int and limit > 0 else None
        self.steps = 0
        self.takes_reset = _parameters(env, "reset")
        self.renders_by_mode = _renders_by_mode(env, module)
        self.spaces = _space(env, "action_space"), _space(env, "observation_space")
        # NumPy 2 keeps float32, which Box2D and pygame behind gym refuse.
        self.widens = module.__name__ == "gym" and int(np.__version__.split(".")[0]) >= 2
        self.has_graphs = "Graph(" in repr(self.spaces[0])

    def reset(self, seed, options):
        arguments = {}
        if seed is not None:
            if "seed" in self.takes_reset:
                arguments["seed"] = seed
            elif callable(getattr(self.env, "seed", None)) and _parameters(self.env, "seed"):
                self.env.seed(seed)
            elif "**" in self.takes_reset:
                arguments["seed"] = seed
        if options is not None and {"options", "**"} & self.takes_reset:
            arguments["options"] = options
        elif options:
            raise Refusal("invalid", "the environment's reset takes no options")
        if "return_info" in self.takes_reset:
            arguments["return_info"] = True
        result = self.env.reset(**arguments)
        self.steps = 0
        spaces = _space(self.env, "action_space"), _space(self.env, "observation_space")
        changed = (describe(spaces[0]), describe(spaces[1])) if spaces != self.spaces else None
        self.spaces = spaces
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict):
            if not (kind_of(spaces[1]) in ("Tuple", "OneOf") and contains(spaces[1], result)):
                return result[0], result[1], changed
        return result, {}, changed

    def step(self, action):
        if self.widens and type(action) is np.ndarray and action.dtype == np.float32:
            action = action.astype(np.float64)
        if self.has_graphs:
            action = fitted(self.spaces[0], action)
        result = self.env.step(action)
        self.steps += 1
        is_over = self.limit is not None and self.steps >= self.limit
        if len(result) == 4:
            observation, reward, terminated, info = result
            # The step API before 0.26: what the environment itself, or a wrapper of its own, truncated is named in `info`.
            truncated = bool(isinstance(info, dict) and info.get("TimeLimit.truncated", False))
            if truncated:
                terminated = False
            elif is_over and not np.any(terminated):
                truncated = True
            return observation, reward, terminated, truncated, info
        observation, reward, terminated, truncated, info = result
        return observation, reward, terminated, True if is_over else truncated, info

    def render(self):
        return self.env.render(mode=self.mode or "rgb_array") if self.renders_by_mode else self.env.render()


def _parameters(env, name):
    """Return the names of the arguments that reach a method through the wrappers around it, `**` for any."""
    names = set()
    while True:
        try:
            parameters = inspect.signature(getattr(env, name)).parameters.values()
        except (TypeError, ValueError, AttributeError):
            return names | {"**"}
        names |= {parameter.name for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD}
        if all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in parameters):
            return names
        inner = env.__dict__.get("env")
        if inner is None:
            return names | {"**"}
        env = inner


def _renders_by_mode(env, module):
    """Return whether `render` takes the mode. gym 0.24 and 0.25 hide that it does."""
    version = getattr(module, "__version__", "0") if module.__name__ == "gym" else "1"
    numbers = [int(part) for part in version.split(".")[:2] if part.isdigit()]
    return "mode" in _parameters(env, "render") or numbers < [0, 26]


def _space(env, name):
    space = getattr(env, name, None)
    if space is None:
        raise Refusal("invalid", "the environment has no {}: it is None, where a space is expected".format(name))
    return space


def controls(env):
    """Return the keys of an environment with their actions, the meanings of its actions, and the text of its class."""
    told = []
    for name in ("get_keys_to_action", "get_action_meanings"):
        try:
            told.append(getattr(env, name)())
        except Exception:  # it has none, or one that is wrong: it is played by its space
            told.append(None)
    keys, meanings = told
    actions = getattr(env, "actions", None)
    if meanings is None and isinstance(actions, type) and issubclass(actions, enum.Enum):
        names = {each.value: each.name for each in actions}
        meanings = [names[value] for value in range(len(names)) if value in names]
    return [
        list(keys.items()) if isinstance(keys, dict) else [],
        list(meanings) if isinstance(meanings, (list, tuple)) else None,
        type(env).__doc__,
    ]


def load(name):
    """Return the module of a library, with what gym 0.26 needs of NumPy before 2."""
    if name == "gym":
        for old, new in (("bool8", np.bool_), ("float_", np.float64)):
            if old not in np.__dict__:
                setattr(np, old, new)
        with contextlib.suppress(Exception):
            importlib.import_module("gym_notices.notices").notices.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module(name)
        importlib.import_module(name + ".envs")
    with contextlib.suppress(Exception):
        module.logger.set_level(40)
    return module


def registrations(module):
    """Return the specifications of a library by id."""
    registry = module.envs.registration.registry
    return getattr(registry, "env_specs", registry)


def find(env_id, library):
    """Return the module of the library that registers an id, and its specification."""
    names = ["gymnasium", "gym"] if library == "auto" else [library]
    known, missing = [], []
    for name in names:
        try:
            module = load(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            missing.append(name)
            continue
        specs = registrations(module)
        if env_id in specs:
            return module, specs[env_id]
        known += list(specs)
    if len(missing) == len(names):
        raise Refusal("missing", "{} is not installed there".format(" or ".join(missing)))
    near = difflib.get_close_matches(env_id[:256], sorted(set(map(str, known))), 3)
    hint = "did you mean {}?".format(" or ".join(near)) if near else "no environment there is called so"
    raise Refusal("unknown", hint)


def creator_of(spec):
    """Return the callable that a specification names."""
    entry_point = getattr(spec, "entry_point", None) or getattr(spec, "_entry_point", None)
    if not isinstance(entry_point, str):
        return entry_point
    module, _, names = entry_point.partition(":")
    creator = importlib.import_module(module)
    for name in names.split("."):
        creator = getattr(creator, name)
    return creator


def modes_of(holder):
    """Return the render modes that a class or an environment declares, or None."""
    metadata = getattr(holder, "metadata", None)
    if not isinstance(metadata, dict):
        return None
    modes = metadata.get("render_modes", metadata.get("render.modes"))
    return None if modes is None else [str(mode) for mode in modes]


def create(request):
    """Return the lanes that a request asks for, and their description."""
    module, spec = find(request["env_id"], request["library"])
    lanes = [_lane(module, spec, request) for _ in range(request["lanes"])]
    env, mode = lanes[0].env, lanes[0].mode
    threshold = getattr(spec, "reward_threshold", None)
    seeds = None
    with contextlib.suppress(Exception):
        seeds = [lane.env.unwrapped.np_random_seed for lane in lanes]
    version = getattr(module, "__version__", None) or module.version.VERSION
    return lanes, {
        "library": "{} {} (Python {})".format(module.__name__, version, ".".join(map(str, sys.version_info[:3]))),
        "render_mode": mode,
        "metadata": env.metadata if isinstance(getattr(env, "metadata", None), dict) else {},
        "max_episode_steps": lanes[0].limit,
        "reward_threshold": float(threshold) if isinstance(threshold, (int, float)) else None,
        "nondeterministic": bool(getattr(spec, "nondeterministic", False)),
        "seeds": seeds,
        "spaces": [describe(lanes[0].spaces[0]), describe(lanes[0].spaces[1])],
    }


def _lane(module, spec, request):
    creator = creator_of(spec)
    parameters, modes, asked = {}, modes_of(creator), request["render_mode"]
    with contextlib.suppress(TypeError, ValueError):
        parameters = inspect.signature(creator).parameters
    takes = "render_mode" in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    is_fixed = "render_mode" in (getattr(spec, "kwargs", None) or getattr(spec, "_kwargs", None) or {})
    in_make = inspect.signature(module.make).parameters
    limit = request["max_episode_steps"] or getattr(spec, "max_episode_steps", None)
    # Made with a mode, gym 0.23 to 0.25 draws every step, and `render` returns all of them.
    is_told_later = inspect.isclass(creator) and _renders_by_mode(creator, module)
    _check_mode(request, asked, modes)

    def preferred(modes):
        return next((mode for mode in ("rgb_array", "ansi") if mode in modes), None)

    def make(mode):
        nonlocal takes
        arguments = dict(request["kwargs"])
        if "disable_env_checker" in in_make:
            arguments["disable_env_checker"] = True
        if "max_episode_steps" in in_make and limit is not None:
            arguments["max_episode_steps"] = limit
        if mode is not None and takes and not is_told_later:
            arguments["render_mode"] = mode
        try:
            env = module.make(request["env_id"], **arguments)
        except TypeError as error:
            if not takes or "render_mode" in parameters or "argument 'render_mode'" not in str(error):
                raise
            takes = False  # the keywords went on to code that has not this one
            return make(mode)
        return Lane(env, getattr(env, "render_mode", None) or mode, limit, module)

    def made(mode):
        lane = make(mode)
        if mode is not None and not takes and not lane.renders_by_mode:
            lane.mode = getattr(lane.env, "render_mode", None)
        try:
            _check_mode(request, asked, modes_of(lane.env))
        except Refusal:
            lane.env.close()
            raise
        return lane

    if asked is not None or is_fixed:
        return made(asked)
    if modes is None and getattr(parameters.get("render_mode"), "default", None) == "human":
        return made("rgb_array")
    if modes is not None:
        return made(preferred(modes))
    lane = made(None)
    better = None if lane.mode else preferred(modes_of(lane.env) or [])
    if better is not None and lane.renders_by_mode:
        lane.mode = better
    elif better is not None and takes:
        lane.env.close()
        return made(better)
    return lane


def _check_mode(request, asked, modes):
    if asked is not None and modes is not None and asked not in modes + [mode + "_list" for mode in modes]:
        have = ", ".join(sorted(modes)) or "none at all"
        raise Refusal("invalid", "{} has no render mode {!r}: it has {}".format(request["env_id"], asked, have))


def registry():
    """Return what the libraries here register, with the reason of each that cannot be made."""
    found, reasons = [], {}
    for name in ("gymnasium", "gym"):
        try:
            module = load(name)
        except ImportError:
            continue
        for env_id, spec in list(registrations(module).items()):
            entry_point = getattr(spec, "entry_point", None) or getattr(spec, "_entry_point", None)
            key = entry_point if isinstance(entry_point, str) else id(entry_point)
            if key not in reasons:
                try:
                    reasons[key] = None, modes_of(creator_of(spec))
                except (Exception, SystemExit) as error:
                    reasons[key] = "{}: {}".format(type(error).__name__, error), None
            reason, modes = reasons[key]
            vector = getattr(spec, "vector_entry_point", None)
            found.append(
                {
                    "id": str(env_id),
                    "library": name,
                    "installed": reason is None,
                    "reason": reason,
                    "max_episode_steps": getattr(spec, "max_episode_steps", None),
                    "reward_threshold": getattr(spec, "reward_threshold", None),
                    "vector_entry_point": None if vector is None else str(vector),
                    "render_modes": modes,
                }
            )
    return found


class Guest:
    """Serves the requests on two descriptors until they are closed."""

    def __init__(self, reading, writing, imported=()):
        self.reading = reading
        self.writing = writing
        self.imported = list(imported)
        self.lanes = []

    def run(self):
        while True:
            data = self.read()
            if data is None:
                return
            _, kind, lane = HEADER.unpack_from(data)
            try:
                value = unpack(data, HEADER.size)[0]
                reply = (
                    outcome(self.lanes[lane].step(value))
                    if kind == STEP
                    else frame(RESULT, lane, self.answer(kind, lane, value))
                )
            except (Exception, SystemExit) as error:
                reply = frame(ERROR, lane, _told(error))
            self.write(reply)

    def read(self):
        """Return the next frame, or None at the end: the server sends one and waits for the reply."""
        data = os.read(self.reading, 1 << 16)
        while len(data) < HEADER.size or len(data) < HEADER.size + HEADER.unpack_from(data)[0]:
            part = os.read(self.reading, 1 << 20)
            if not part:
                return None
            data = bytearray(data)
            data += part
        return data

    def write(self, data):
        sent = os.write(self.writing, data)
        while sent < len(data):
            sent += os.write(self.writing, memoryview(data)[sent:])

    def answer(self, kind, lane, value):
        if kind == STEPS:
            return [
                self.lanes[at].reset(None, None) if one is None else self.lanes[at].step(one[0])
                for at, one in enumerate(value)
            ]
        if kind == RESET:
            return self.lanes[lane].reset(*value)
        if kind == RENDER:
            return self.lanes[lane].render()
        if kind == SPACE:
            which, path, name, values = value
            space = self.lanes[lane].spaces[which]
            for key in path:
                space = space.feature_space if key is None else space.spaces[key]
            return contains(space, *values) if name == "contains" else getattr(space, name)(*values)
        if kind == CONTROLS:
            return controls(getattr(self.lanes[lane].env, "unwrapped", self.lanes[lane].env))
        if kind == CLOSE:
            for each in self.lanes:
                each.env.close()
            return None
        if kind == CREATE:
            self.lanes, described = create(value)
            return described
        if kind == REGISTRY:
            return registry()
        if kind in (HELLO, FORK):
            self.prepare(value)
            return self.host() if kind == FORK else None
        raise Refusal("invalid", "no kind of request")

    def prepare(self, imports):
        """Import modules, and call what is named behind a colon."""
        for name in imports:
            if name in self.imported:
                continue
            module, _, attribute = name.partition(":")
            try:
                target = importlib.import_module(module)
                if attribute:
                    getattr(target, attribute)()
            except (Exception, SystemExit) as error:
                traceback.print_exc()
                raise Refusal("import", "{}: {}: {}".format(name, type(error).__name__, error))
            self.imported.append(name)

    def host(self):
        """Fork a guest for each request: a variable, an id, and the descriptors of its socket and its output."""
        for name in ("gymnasium", "gym"):
            with contextlib.suppress(Exception):
                load(name)
        control = socket.socket(fileno=self.reading)
        gc.collect()
        gc.freeze()
        os.write(self.writing, READY)
        while True:
            data, ancillary, _, _ = control.recvmsg(
                1 << 16, socket.CMSG_SPACE(8), getattr(socket, "MSG_CMSG_CLOEXEC", 0)
            )
            if not data:
                os._exit(0)
            trace, _, env_id = data.decode("utf-8", "replace").partition(" ")
            given = array.array("i")
            for _, _, content in ancillary:
                given.frombytes(content[: len(content) // 4 * 4])
            for module in [sys.modules[name] for name in ("gymnasium", "gym") if name in sys.modules]:
                with contextlib.suppress(Exception, SystemExit):
                    creator_of(registrations(module)[env_id])  # imported here, once
            is_single = len(os.listdir("/proc/self/task")) == 1 if os.path.isdir("/proc/self/task") else True
            if is_single and len(given) == 2:
                sys.stdout.flush()
                child = os.fork()
                if child == 0:
                    self.become_guest(control, trace, *given)
                os.waitpid(child, 0)
            for descriptor in given:
                os.close(descriptor)
            os.write(self.writing, FORKED if is_single else NOT_FORKABLE)

    def become_guest(self, control, trace, connection, output):
        status = 1
        try:
            os.setsid()
            if os.fork():
                os._exit(0)  # the guest is an orphan: the process that collects those finds it by its output
            os.environ.update([trace.split("=")])  # by which programs that it starts are recognised
            control.close()
            os.close(self.writing)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.close(output)
            np.random.seed(int.from_bytes(os.urandom(4), "little"))
            random.seed()
            Guest(connection, connection, self.imported).run()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(status)


def _told(error):
    if not isinstance(error, Refusal):
        traceback.print_exception(type(error), error, error.__traceback__)
    place = traceback.extract_tb(error.__traceback__)[-1:]
    return {
        "kind": getattr(error, "kind", None) if isinstance(error, Refusal) else None,
        "type": type(error).__name__,
        "text": text_of(error),
        "module": getattr(error, "name", None) if isinstance(error, ImportError) else None,
        "where": ["{}:{}".format(entry.filename, entry.lineno) for entry in place],
    }


def main():
    """Serve on the descriptors 0 and 1."""
    if sys.path[:1] == [""]:
        # Not first: a file there would hide a module of the standard library.
        sys.path.append(os.getcwd())
        del sys.path[0]
    with contextlib.suppress(Exception):
        import ctypes

        # The guest ends with its parent (prctl(2): PR_SET_PDEATHSIG, SIGKILL), also inside a call.
        ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
    reading, writing = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    with contextlib.suppress(Exception):
        sys.stdout.reconfigure(line_buffering=True)
    faulthandler.enable()
    os.write(writing, MARKER)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        Guest(reading, writing).run()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that an environment left must not keep the process


if __name__ == "__main__":
    main()
