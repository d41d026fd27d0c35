"""The wrappers of Gymnasium that a client may put around an environment: a table of them, and of those that are refused.

A name of a client's is looked up in the table, and only what is found there is taken from the library. Arguments come as
plain JSON values; the table says which of them a constructor wants as something else.

https://gymnasium.farama.org/api/wrappers/
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import gymnasium
import numpy as np

from ..errors import GymHttpServerError, InvalidValueError
from .codec import decode
from .construct import closing_on_error, is_missing_dependency, missing
from .encoding import FAR
from .trajectory import least_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

Environment: TypeAlias = gymnasium.Env[Any, Any]
Convert: TypeAlias = Callable[[Any, Environment], Any]
Count: TypeAlias = Callable[[Mapping[str, Any], Environment], int]

LARGEST: Final = 1 << 22
"""The most numbers that a space may come to have: its description lists a bound or two for each."""

DTYPES: Final = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
"""The types that an argument may name; each has a form on the wire."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A wrapper that there is.

    Attributes:
        convert: for arguments that are not passed on as they come, what makes of a JSON value what the constructor wants.
        count: how many numbers the constructor would make room for, where arguments say so.
    """

    convert: Mapping[str, Convert] = field(default_factory=dict)
    count: Count = lambda given, environment: 0  # noqa: ARG005 -- a default


def _as_tuple(value: Any, environment: Environment) -> Any:  # noqa: ARG001 -- the signature of conversions
    return tuple(value) if isinstance(value, list) else value


def _as_bound(value: Any, environment: Environment) -> Any:  # noqa: ARG001 -- as above
    """Return a number, or an array of the numbers in a list, with an infinity for what is as far as ±1e100."""
    if not isinstance(value, list):
        return value * np.inf if isinstance(value, float) and abs(value) >= FAR else value
    try:
        array = np.array(value)
    except ValueError:  # lists of different lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "iuf":
        raise ValueError("expected a number, or a list of numbers of the shape of the space")
    if array.dtype.kind == "f":
        array[np.abs(array) >= FAR] *= np.inf
    return array


def _as_dtype(value: Any, environment: Environment) -> Any:  # noqa: ARG001 -- as above
    # Looked up, not parsed: numpy reads a great many more texts, `object` among them.
    if value not in DTYPES:
        raise ValueError(f"expected one of {', '.join(DTYPES)}")
    return np.dtype(value).type


def _as_observation(value: Any, environment: Environment) -> Any:
    """Return an observation, but leave a text alone: Gymnasium has words for it."""
    return value if isinstance(value, str) else decode(environment.observation_space, value)


def _whole(value: Any) -> list[int]:
    """Return the integers of an argument that is one or has several; any others are Gymnasium's to refuse."""
    return [abs(each) for each in (value if isinstance(value, list) else [value]) if isinstance(each, int)]


def _stacked(given: Mapping[str, Any], environment: Environment) -> int:
    return least_bytes(environment.observation_space) * math.prod(_whole(given.get("stack_size")))


def _screen(given: Mapping[str, Any], environment: Environment) -> int:  # noqa: ARG001 -- as above
    size = given.get("screen_size")
    return 3 * math.prod(_whole(size)) ** (1 if isinstance(size, list) else 2)


def _picture(given: Mapping[str, Any], environment: Environment) -> int:
    return math.prod([*_whole(given.get("shape")), *(environment.observation_space.shape or ())[2:]])


def _flattened(given: Mapping[str, Any], environment: Environment) -> int:
    if not given.get("flatten", True):
        return 0
    try:
        return gymnasium.spaces.flatdim(environment.observation_space)
    except (ValueError, NotImplementedError):  # it cannot be
        return 0


def _edges(space: str) -> Count:
    def count(given: Mapping[str, Any], environment: Environment) -> int:
        bins, dimensions = given.get("bins"), least_bytes(getattr(environment, space))
        return sum(_whole(bins)) * (1 if isinstance(bins, list) else dimensions)

    return count


WRAPPERS: Final[Mapping[str, Offer]] = {
    "AddRenderObservation": Offer(),
    "AddWhiteNoise": Offer(),
    "AtariPreprocessing": Offer({"screen_size": _as_tuple}, _screen),
    "ClipAction": Offer(),
    "ClipReward": Offer({"min_reward": _as_bound, "max_reward": _as_bound}),
    "DelayObservation": Offer(),
    "DiscretizeAction": Offer({"bins": _as_tuple}, _edges("action_space")),
    "DiscretizeObservation": Offer({"bins": _as_tuple}, _edges("observation_space")),
    "DtypeObservation": Offer({"dtype": _as_dtype}),
    "FilterObservation": Offer(),
    "FlattenObservation": Offer(count=_flattened),
    "FrameStackObservation": Offer({"padding_type": _as_observation}, _stacked),
    "GrayscaleObservation": Offer(),
    "MaxAndSkipObservation": Offer(),
    "NormalizeObservation": Offer(),
    "NormalizeReward": Offer(),
    "ObstructView": Offer(),
    "RecordEpisodeStatistics": Offer(),
    "RepeatAction": Offer(),
    "RescaleAction": Offer({"min_action": _as_bound, "max_action": _as_bound}),
    "RescaleObservation": Offer({"min_obs": _as_bound, "max_obs": _as_bound}),
    "ReshapeObservation": Offer({"shape": _as_tuple}),
    "ResizeObservation": Offer({"shape": _as_tuple}, _picture),
    "StickyAction": Offer({"repeat_action_duration": _as_tuple}),
    "TimeAwareObservation": Offer(count=_flattened),
    "TimeLimit": Offer(),
}
"""The wrappers there are."""

_CONVERSION: Final = "it hands arrays of one framework to another, and over the wire all have one form"

REFUSED: Final[Mapping[str, str]] = {
    "ArrayConversion": _CONVERSION,
    "Autoreset": "ask for autoreset: true instead, which counts and records each episode as it is",
    "HumanRendering": "it opens a window on the server's display: renderEnv answers the frames",
    "JaxToNumpy": _CONVERSION,
    "JaxToTorch": _CONVERSION,
    "NumpyToTorch": _CONVERSION,
    "OrderEnforcing": "the server itself answers a step or a frame before the first reset with a 409",
    "PassiveEnvChecker": "it warns on the server's log, which a client does not see; the server checks each action itself",
    "RecordVideo": "it writes files: startMonitor records videos, below the results roots",
    "RenderCollection": "it keeps frames in memory and renders lists of them: renderEnv answers one frame",
    "TransformAction": "it takes code, a function of actions",
    "TransformObservation": "it takes code, a function of observations",
    "TransformReward": "it takes code, a function of rewards",
    "vector": "it is the module of wrappers around batches: around a batch, each lane gets the wrappers",
}
"""The names of `gymnasium.wrappers` that are no wrapper here, and why."""

RENAMED: Final[Mapping[str, str]] = {
    "AtariPreprocess": "AtariPreprocessing",
    "AutoResetWrapper": "Autoreset",
    "FilterObservationWrapper": "FilterObservation",
    "FrameStack": "FrameStackObservation",
    "GrayScaleObservation": "GrayscaleObservation",
    "PixelObservationWrapper": "AddRenderObservation",
}
"""What wrappers of gym and of Gymnasium before 1.0 are called since."""


def check_names(wrappers: Iterable[Mapping[str, Any]]) -> None:
    """Refuse wrappers that there are none of, before anything is made.

    Raises:
        InvalidValueError: there is no such wrapper, or it is refused.
    """
    for index, each in enumerate(wrappers):
        _offer(each["name"], index)


def wrap(environment: Environment, wrappers: Iterable[Mapping[str, Any]]) -> Environment:
    """Return an environment with wrappers around it, the first one innermost; it is closed where that fails.

    Args:
        environment: what to wrap.
        wrappers: `name` and `kwargs` of each, plain JSON values.

    Raises:
        InvalidValueError: there is no such wrapper, it is refused, or its constructor refuses an argument or the
            environment.
        MissingDependencyError: a package that it needs is not installed.
    """
    for index, each in enumerate(wrappers):
        with closing_on_error(environment):
            environment = _wrapped(environment, each["name"], each["kwargs"], index)
    return environment


def _wrapped(environment: Environment, name: str, kwargs: Mapping[str, Any], index: int) -> Environment:
    where = f"wrappers[{index}], {name}"
    offer = _offer(name, index)
    count = offer.count(kwargs, environment)
    if count > LARGEST:
        raise InvalidValueError(
            f"{where}: a space of {count} numbers is too large: {LARGEST} are the most", wrapper=name, index=index
        )
    given = dict(kwargs)
    for argument in offer.convert.keys() & kwargs.keys():
        try:
            given[argument] = offer.convert[argument](kwargs[argument], environment)
        except (ValueError, TypeError) as error:
            raise InvalidValueError(f"{where}: {argument}: {error}", wrapper=name, index=index) from None
    try:
        wrapped: Environment = getattr(gymnasium.wrappers, name)(environment, **given)
    except GymHttpServerError:
        raise
    except (Exception, SystemExit) as error:
        if is_missing_dependency(error):
            raise missing(where, error, wrapper=name, index=index) from error
        raise InvalidValueError(f"{where}: {type(error).__name__}: {error}", wrapper=name, index=index) from error
    return wrapped


def _offer(name: str, index: int) -> Offer:
    offer = WRAPPERS.get(name)
    if offer is None or not hasattr(gymnasium.wrappers, name):
        raise InvalidValueError(f"wrappers[{index}]: {_why_not(name)}", wrapper=name, index=index)
    return offer


def _why_not(name: str) -> str:
    reason = REFUSED.get(name)
    if reason is not None:
        return f"{name} is refused: {reason}"
    renamed = RENAMED.get(name)
    if renamed is not None:
        return f"{name!r} has been renamed: ask for {renamed!r}"
    if name in WRAPPERS:
        return f"gymnasium {gymnasium.__version__} has no wrapper {name!r}, a later one has"
    near = difflib.get_close_matches(name, WRAPPERS)
    meant = f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has {', '.join(WRAPPERS)}"
    return f"module 'gymnasium.wrappers' has no attribute {name!r}: {meant}"
