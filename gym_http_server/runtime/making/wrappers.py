"""Wrappers that a client may request: a table of Gymnasium's offered and refused ones, and those of imported modules.

Only names in the table are looked up in the library, and `module:Wrapper` only in a module of `--import`. Arguments are plain
JSON values; the table says which of them are converted.

https://gymnasium.farama.org/api/wrappers/
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import gymnasium

from ...errors import GymHttpServerError, InvalidValueError
from . import wrapper_arguments as arguments
from .construct import closing_on_error
from .dependencies import is_missing_dependency, missing

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ..messages import CreateRequest
    from .wrapper_arguments import Convert, Count, Environment

MAX_SPACE_ELEMENTS: Final = 1 << 22
"""Maximum elements of a wrapped space: its description lists up to two bounds for each."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A wrapper that clients may request.

    Attributes:
        convert: conversions from JSON values, by argument; other arguments are passed on unchanged.
        count: returns the elements of the space that the arguments ask for; raises `ValueError` if there is no such space.
    """

    convert: Mapping[str, Convert] = field(default_factory=dict)
    count: Count = lambda given, environment: 0  # noqa: ARG005 -- a default


WRAPPERS: Final[Mapping[str, Offer]] = {
    "AddRenderObservation": Offer({"render_key": arguments.as_key, "obs_key": arguments.as_key}),
    "AddWhiteNoise": Offer(),
    "AtariPreprocessing": Offer(
        {"noop_max": arguments.as_whole, "frame_skip": arguments.as_whole, "screen_size": arguments.as_one_or_two},
        arguments.screen_size,
    ),
    "ClipAction": Offer(),
    "ClipReward": Offer({"min_reward": arguments.as_reward, "max_reward": arguments.as_reward}),
    "DelayObservation": Offer(),
    "DiscretizeAction": Offer({"bins": arguments.as_tuple}, arguments.bin_edges("action_space")),
    "DiscretizeObservation": Offer({"bins": arguments.as_tuple}, arguments.bin_edges("observation_space")),
    "DtypeObservation": Offer({"dtype": arguments.as_dtype}),
    "FilterObservation": Offer(),
    "FlattenObservation": Offer(count=arguments.flattened_size),
    "FrameStackObservation": Offer({"padding_type": arguments.as_observation}, arguments.stack_size),
    "GrayscaleObservation": Offer(),
    "MaxAndSkipObservation": Offer(),
    "NormalizeObservation": Offer(),
    "NormalizeReward": Offer(),
    "ObstructView": Offer({"obstruction_width": arguments.as_whole}),
    "RecordEpisodeStatistics": Offer({"stats_key": arguments.as_key}),
    "RepeatAction": Offer(),
    "RescaleAction": Offer({"min_action": arguments.as_bound, "max_action": arguments.as_bound}),
    "RescaleObservation": Offer({"min_obs": arguments.as_bound, "max_obs": arguments.as_bound}),
    "ReshapeObservation": Offer({"shape": arguments.as_tuple}),
    "ResizeObservation": Offer({"shape": arguments.as_tuple}, arguments.resized_size),
    "StickyAction": Offer({"repeat_action_duration": arguments.as_one_or_two}),
    "TimeAwareObservation": Offer({"dict_time_key": arguments.as_key}, arguments.flattened_size),
    "TimeLimit": Offer(),
}

_CONVERSION: Final = "it hands arrays of one framework to another, and over the wire all have one form"

LIBRARY: Final = "gymnasium."

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
"""Names of `gymnasium.wrappers` that are refused, and why."""

RENAMED: Final[Mapping[str, str]] = {
    "AtariPreprocess": "AtariPreprocessing",
    "AutoResetWrapper": "Autoreset",
    "FilterObservationWrapper": "FilterObservation",
    "FrameStack": "FrameStackObservation",
    "GrayScaleObservation": "GrayscaleObservation",
    "PixelObservationWrapper": "AddRenderObservation",
}
"""Present names of wrappers of gym and of Gymnasium before 1.0."""


def check_names(request: CreateRequest) -> None:
    """Check the names of requested wrappers.

    Raises:
        InvalidValueError: a wrapper is unknown or refused.
    """
    for index, wrapper in enumerate(request.wrappers):
        _offer(wrapper["name"], request.modules, index)


def wrap(environment: Environment, request: CreateRequest) -> Environment:
    """Return the environment in the wrappers of a request, the first one innermost. On an error it is closed.

    Args:
        environment: the environment to wrap.
        request: its `wrappers` are `name` and `kwargs` of each, plain JSON values.

    Raises:
        InvalidValueError: a wrapper is unknown or refused, or its constructor raised.
        MissingDependencyError: a package that a wrapper needs is not installed.
    """
    for index, wrapper in enumerate(request.wrappers):
        with closing_on_error(environment):
            offer, create = _offer(wrapper["name"], request.modules, index)
            environment = _wrapped(environment, offer, create, wrapper["name"], wrapper["kwargs"], index)
    return environment


def _wrapped(
    environment: Environment, offer: Offer, create: Any, name: str, kwargs: Mapping[str, Any], index: int
) -> Environment:
    where = f"wrappers[{index}], {name}"
    try:
        count = offer.count(kwargs, environment)
    except ValueError as error:
        raise InvalidValueError(f"{where}: {error}", wrapper=name, index=index) from None
    if count > MAX_SPACE_ELEMENTS:
        raise InvalidValueError(
            f"{where}: a space of {count} numbers is too large: {MAX_SPACE_ELEMENTS} are the most",
            wrapper=name,
            index=index,
        )
    given = dict(kwargs)
    for argument in offer.convert.keys() & kwargs.keys():
        try:
            given[argument] = offer.convert[argument](kwargs[argument], environment)
        except (ValueError, TypeError) as error:
            raise InvalidValueError(f"{where}: {argument}: {error}", wrapper=name, index=index) from None
    try:
        wrapped: Environment = create(environment, **given)
    except GymHttpServerError:
        raise
    except (Exception, SystemExit) as error:
        if is_missing_dependency(error):
            raise missing(where, error, wrapper=name, index=index) from error
        raise InvalidValueError(f"{where}: {type(error).__name__}: {error}", wrapper=name, index=index) from error
    return wrapped


def _offer(name: str, modules: Collection[str], index: int) -> tuple[Offer, Any]:
    """Return how a wrapper is offered, and its class."""
    module, colon, attribute = name.rpartition(":")
    if colon:
        why, create = _imported(module, attribute, modules)
        if why:
            raise InvalidValueError(f"wrappers[{index}]: {name!r} {why}", wrapper=name, index=index)
        return Offer(), create
    offer = WRAPPERS.get(name)
    # Only what is offered is looked up: the library imports on look-up what others need.
    create = None if offer is None else getattr(gymnasium.wrappers, name, None)
    if offer is None or create is None:
        raise InvalidValueError(f"wrappers[{index}]: {_why_not(name)}", wrapper=name, index=index)
    return offer, create


def _imported(module: str, attribute: str, modules: Collection[str]) -> tuple[str, Any]:
    """Return why a wrapper of another module is refused, or an empty text and its class."""
    if module not in modules:
        return f"names the module {module!r}: start the server with --import {module}", None
    create = getattr(importlib.import_module(module), attribute, None)
    if not (isinstance(create, type) and issubclass(create, gymnasium.Wrapper)):
        return f"is refused: {module} has no such wrapper of Gymnasium", None
    if create.__module__.startswith(LIBRARY):  # what a module imports for itself may be one that is refused
        return f"is refused: it is Gymnasium's own: ask for {attribute!r}", None
    return "", create


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
