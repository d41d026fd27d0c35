"""Environments with the interface of gym before 0.26, or of a class of no library, as environments of Gymnasium.

They are recognised by their code, before the first call. What may return either form is told apart at each call.

| before 0.26 | Gymnasium |
| --- | --- |
| `reset()`, `reset(return_info=True)`, `seed(seed)` | `reset(seed=seed, options=options)` |
| four values of `step`, `info["TimeLimit.truncated"]` | `terminated` and `truncated` |
| `render(mode)`, `metadata["render.modes"]` | `render_mode` of the constructor, `metadata["render_modes"]` |
| `metadata = None`, no `close` | a dict, and `close` |
"""

from __future__ import annotations

import dis
import inspect
import sys
from typing import TYPE_CHECKING, Any, Final

import gymnasium

from ..gym_compat import convert_space
from .agents import Agents, has_agents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FRAME_MODES: Final = ("rgb_array", "ansi")
"""Render modes that give a frame, the preferred first."""

OLD_STEP_VALUES: Final = 4


def adapting(creator: Any, library: str) -> Any:
    """Return an entry point that makes the environments of another one with the interface of a library.

    Args:
        creator: a class, or a function that returns an environment.
        library: `gym`, or another one; Gymnasium's `make` calls the entry points of those.

    Returns:
        `creator` itself, if it is a class whose environments have that interface. A function is always wrapped, because
        only its environments show what they are; those that need no adapter are returned unchanged.
    """
    if isinstance(creator, type) and issubclass(creator, _base(library)) and not _is_old(creator):
        return creator
    takes, takes_any = takes_keyword(creator, "render_mode"), takes_keyword(creator, None)

    def create(*, render_mode: str | None = None, **kwargs: Any) -> Any:
        given = {} if render_mode is None or not (takes or takes_any) else {"render_mode": render_mode}
        try:
            environment = creator(**kwargs, **given)
        except TypeError as error:
            # The function passes its keywords on to code that does not know this one.
            if takes or not given or not is_unknown_keyword(error, "render_mode"):
                raise
            environment = creator(**kwargs)
        return _adapted(environment, library, render_mode)

    modes = modes_of(creator) if isinstance(creator, type) else None
    if modes is not None:
        create.metadata = {"render_modes": modes}  # type: ignore[attr-defined]  # as the libraries' `make` reads it
    return create


def modes_of(holder: Any) -> list[str] | None:
    """Return the render modes of a class or an environment, or None if they are not declared and cannot be guessed."""
    metadata = getattr(holder, "metadata", None)
    declared = metadata.get("render_modes", metadata.get("render.modes")) if isinstance(metadata, dict) else None
    if declared:
        return [str(mode) for mode in declared]
    render = getattr(holder, "render", None)
    is_inherited = getattr(render, "__module__", "").startswith(("gym.", "gymnasium."))
    if render is None or is_inherited or not _is_old(holder if isinstance(holder, type) else type(holder)):
        return None if declared is None else []
    return ["human", "rgb_array"] if takes_keyword(render, "mode") else ["rgb_array"]


def takes_keyword(function: Any, name: str | None) -> bool:
    """Return whether a function has a parameter of that name; with None, whether it takes any keyword."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    if name is None:
        return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    return any(parameter.name == name for parameter in parameters)


def is_unknown_keyword(error: BaseException, name: str) -> bool:
    """Return whether an exception says that a function has no parameter of that name."""
    return isinstance(error, TypeError) and f"unexpected keyword argument '{name}'" in str(error)


class NewInterface(gymnasium.Env[Any, Any]):
    """An environment with an old interface, as one of Gymnasium.

    A seed goes to `reset` or `seed`, whichever the environment has, else to the generator of the library's class. One that
    has none of these cannot be seeded.

    Args:
        environment: the environment.
        render_mode: the render mode asked for; another one that gives frames is taken where the environment has not this one.
    """

    def __init__(self, environment: Any, render_mode: str | None) -> None:
        self.environment = environment
        metadata = getattr(environment, "metadata", None)
        modes = modes_of(environment) or []
        self.metadata = {**(metadata if isinstance(metadata, dict) else {}), "render_modes": modes}
        chosen = (mode for mode in (render_mode, *FRAME_MODES) if mode in modes)
        self.render_mode = getattr(environment, "render_mode", None) or next(chosen, None)
        self._spaces: dict[str, Any] = {}
        self._takes = frozenset(
            name for name in ("seed", "options", "return_info") if _passes(environment, "reset", name)
        )
        self._renders_by_mode = _passes(environment, "render", "mode")

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the environment."""
        if name.startswith("_") or name == "environment":
            raise AttributeError(name)
        return getattr(self.environment, name)

    @property
    def action_space(self) -> Any:  # type: ignore[override]  # read when it is needed: an environment may change it
        """The environment's action space, as one of Gymnasium."""
        return self._space("action_space")

    @property
    def observation_space(self) -> Any:  # type: ignore[override]  # as above
        """The environment's observation space, as one of Gymnasium."""
        return self._space("observation_space")

    @property
    def np_random_seed(self) -> Any:
        """The seed of the environment's own generator, or None if it tells none."""
        return getattr(self.environment, "np_random_seed", None)

    def _space(self, name: str) -> Any:
        given = getattr(self.environment, name, None)
        space = None if given is None else convert_space(given)
        # Some environments make a new space whenever they are asked, and a space keeps its generator.
        if name not in self._spaces or self._spaces[name] != space:
            self._spaces[name] = space
        return self._spaces[name]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode."""
        super().reset(seed=seed)  # wrappers draw from this generator
        given: dict[str, Any] = {"return_info": True} if "return_info" in self._takes else {}
        if options is not None and "options" in self._takes:
            given["options"] = options
        elif options:
            raise TypeError("this environment's reset takes no options")
        if "seed" in self._takes:
            given["seed"] = seed
        elif seed is not None:
            _seed(self.environment, seed)
        result = self.environment.reset(**given)
        # An observation can be a tuple itself.
        is_pair = isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], dict)
        if is_pair and (given.keys() & {"return_info", "seed"} or not self.observation_space.contains(result)):
            return result[0], result[1]
        return result, {}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take one action."""
        result = self.environment.step(action)
        if len(result) != OLD_STEP_VALUES:
            observation, reward, terminated, truncated, info = result
            return observation, reward, terminated, truncated, info
        observation, reward, done, info = result
        is_truncated = bool(done) and isinstance(info, dict) and bool(info.get("TimeLimit.truncated", False))
        return observation, reward, bool(done) and not is_truncated, is_truncated, info

    def render(self) -> Any:
        """Return the current frame."""
        if self.render_mode is None:
            return None
        return self.environment.render(mode=self.render_mode) if self._renders_by_mode else self.environment.render()

    def close(self) -> None:
        """Close the environment, if it can be closed."""
        close = getattr(self.environment, "close", None)
        if close is not None:
            close()


def _adapted(environment: Any, library: str, render_mode: str | None) -> Any:
    if has_agents(environment):
        return Agents.of(environment)
    classes = [type(each) for each in layers(environment)]
    if isinstance(environment, _base(library)) and not any(map(_is_old, classes)):
        return environment
    if not (hasattr(environment, "reset") and hasattr(environment, "step")):
        raise TypeError(
            f"the entry point returned a value of the class {type(environment).__name__}, which is no environment: "
            "it has no reset and step"
        )
    return NewInterface(environment, render_mode)


def _base(library: str) -> Any:
    # gym is imported if it has a registration; this module must not import it for Gymnasium's.
    return sys.modules["gym"].Env if library == "gym" else gymnasium.Env


def layers(environment: Any) -> Iterator[Any]:
    """Yield an environment, and the one inside it if it is a wrapper of a library, to the innermost."""
    bases = tuple(sys.modules[name].Wrapper for name in ("gymnasium", "gym") if name in sys.modules)
    yield environment
    while isinstance(environment, bases):
        environment = environment.env
        yield environment


def _is_old(cls: type) -> bool:
    """Return whether the code of a class has a sign of the old interface."""
    metadata = getattr(cls, "metadata", None)
    return (
        not isinstance(metadata, dict | property)  # a property is a wrapper's, which has that of its environment
        or (isinstance(metadata, dict) and "render.modes" in metadata and "render_modes" not in metadata)
        or not _takes(cls, "reset", "seed")
        or takes_keyword(getattr(cls, "render", None), "mode")
        or _returns_old_step(getattr(cls, "step", None))
    )


def _takes(holder: Any, method: str, name: str) -> bool:
    function = getattr(holder, method, None)
    return takes_keyword(function, name) or takes_keyword(function, None)


def _takes_argument(function: Any) -> bool:
    """Return whether a function takes any argument. gym3's `seed()` takes none."""
    try:
        return bool(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return callable(function)


def _passes(environment: Any, method: str, name: str) -> bool:
    """Return whether a keyword reaches the innermost environment: each wrapper takes it.

    The innermost one has to name what only old interfaces have.
    """
    *wrappers, innermost = layers(environment)
    has = _takes(innermost, method, name)
    if name in ("mode", "return_info"):
        has = takes_keyword(getattr(innermost, method, None), name)
    return has and all(_takes(each, method, name) for each in wrappers)


def _returns_old_step(step: Callable[..., Any] | None) -> bool:
    """Return whether the code of a `step` returns a tuple of four values."""
    code = getattr(inspect.unwrap(step) if step is not None else None, "__code__", None)
    if code is None:
        return False
    previous = None
    for instruction in dis.get_instructions(code):
        if instruction.opname == "RETURN_VALUE" and previous == ("BUILD_TUPLE", OLD_STEP_VALUES):
            return True
        previous = instruction.opname, instruction.arg
    return False


def _seed(environment: Any, seed: int) -> None:
    """Seed an environment whose `reset` takes no seed."""
    innermost = list(layers(environment))[-1]
    if _takes_argument(getattr(innermost, "seed", None)):
        innermost.seed(seed)
        return
    for name in ("gymnasium", "gym"):
        base = getattr(sys.modules.get(name), "Env", None)
        if base is not None and isinstance(innermost, base):
            base.reset(innermost, seed=seed)  # the library's own part of it, which only seeds the generator
