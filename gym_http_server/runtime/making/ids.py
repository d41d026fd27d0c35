"""Environment ids: the library that registers an id, the successor of a retired one, and the ids that a typo may mean."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import gymnasium
from gymnasium.envs.registration import parse_env_id, registry

from ...errors import ImportFailedError, UnknownEnvironmentError
from ..messages import CreateRequest
from . import gym_compat
from .dependencies import known_id, known_module
from .sources.imports import entry_point_of, is_registered_by, load_plugin, module_of, plugins
from .sources.libraries import LIBRARIES, register_namespace
from .sources.libraries import specification as specification_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

OWN_NAMESPACE: Final = "gym_http_server"
"""Namespace of the client's own environment. A server refuses it, because it would serve itself."""

LIBRARY_PACKAGES: Final = ("gymnasium.envs.", "gym.envs.")
"""Prefixes of the modules of the libraries' own environments."""

ATARI: Final = re.compile(r"(?P<game>[A-Z][A-Za-z0-9]*?)(?P<ram>-ram)?(?P<kind>Deterministic|NoFrameskip)?")
"""Names of Atari environments in gym 0.21, before they had a namespace."""

ATARI_GAMES: Final = frozenset(
    """
    Adventure AirRaid Alien Amidar Assault Asterix Asteroids Atlantis BankHeist BattleZone BeamRider Berzerk Bowling
    Boxing Breakout Carnival Centipede ChopperCommand CrazyClimber Defender DemonAttack DoubleDunk ElevatorAction
    Enduro FishingDerby Freeway Frostbite Gopher Gravitar Hero IceHockey Jamesbond JourneyEscape Kangaroo Krull
    KungFuMaster MontezumaRevenge MsPacman NameThisGame Phoenix Pitfall Pong Pooyan PrivateEye Qbert Riverraid
    RoadRunner Robotank Seaquest Skiing Solaris SpaceInvaders StarGunner Tennis TimePilot Tutankham UpNDown Venture
    VideoPinball WizardOfWor YarsRevenge Zaxxon
    """.split()  # noqa: SIM905 -- a list would take a line for each
)
"""Atari games of gym: for these ids a server without ale-py answers that it needs ale-py."""

GUESS: Final = re.compile(r" Did you mean: [^?]*\?")
"""Suggestions that Gymnasium adds to its error for an unknown id."""

GATEWAYS: Final = frozenset({"GymV21Environment", "GymV26Environment"})
"""Environments of shimmy that pass an id in `kwargs` to gym, which imports the module that it names."""

VERSION_SUFFIX: Final = re.compile(r"[-_ ]*v?\d*$", re.IGNORECASE)
"""The version at the end of an id, also a mistyped one."""

MIN_SIMILARITY: Final = 0.75
"""`difflib` ratio from which one name is a typo of the other."""

MAX_COMPARED_LENGTH: Final = 256
"""Characters of an id that are compared with others."""

MAX_SUGGESTIONS_TRIED: Final = 3
"""Environments that are made to find a suggestion; each takes a fraction of a second."""


@dataclass(frozen=True, slots=True)
class Registration:
    """The registration that serves an id.

    Attributes:
        env_id: the id that is served.
        library: `gymnasium`, `gym`, or one of `LIBRARIES`.
        specification: the library's `EnvSpec`; Gymnasium's, if it is one of `LIBRARIES`.
        kwargs: keyword arguments that make a successor behave as the retired id.
        notice: a sentence that another id is served than the one requested, or None.
    """

    env_id: str
    library: str
    specification: Any
    kwargs: dict[str, Any] = field(default_factory=dict)
    notice: str | None = None


def find(request: CreateRequest, can_be_made: Callable[[CreateRequest], bool] | None = None) -> Registration:
    """Return the registration of the requested id, or of its successor if the id is retired.

    Args:
        request: names the id and the library.
        can_be_made: whether an id can be made here; an error then suggests the most similar one that can.

    Raises:
        UnknownEnvironmentError: no library registers the id or a successor, or the id is malformed.
        MissingDependencyError: the library that the request names is not installed.
    """
    if request.library in LIBRARIES:
        return Registration(request.env_id, request.library, specification_of(request.library, request.env_id))
    module, env_id = _split(request.env_id)
    libraries = ("gymnasium", "gym") if request.library == "auto" else (request.library,)
    if request.library == "auto" and not gym_compat.available():
        libraries = ("gymnasium",)
    try:
        namespace, name, version = parse_env_id(env_id)
    except (gymnasium.error.Error, ValueError) as error:  # ValueError: a version of more digits than int() takes
        raise _unknown(request, libraries, str(error), can_be_made) from None
    _refuse_own(request, namespace, name)
    if not any(env_id in registrations(library) for library in libraries):
        _load_plugins(request, namespace, module)
    for library in libraries:
        specification = registrations(library).get(env_id)
        if specification is not None:
            _check_module(module, request, specification)
            return Registration(env_id, library, specification)
    if module is not None and module not in request.modules:
        raise UnknownEnvironmentError.of(request.env_id, _advice_on_module(module))
    successor = _successor(libraries, namespace, name, version)
    if successor is None:
        raise _unknown(request, libraries, _why(libraries[0], env_id, namespace, name), can_be_made)
    _check_module(module, request, successor.specification)
    notice = f"{env_id} is retired; {successor.env_id} is served"
    if version is None:
        notice = f"{env_id} names no version; {successor.env_id} is served"
    elif request.strict_env_ids:
        raise UnknownEnvironmentError.of(
            request.env_id,
            f"it is retired and the server was started with --strict-env-ids: ask for {successor.env_id}",
        )
    return Registration(successor.env_id, successor.library, successor.specification, successor.kwargs, notice)


def _refuse_own(request: CreateRequest, namespace: str | None, name: str) -> None:
    """Refuse ids whose environments would make others."""
    if namespace == OWN_NAMESPACE:
        raise UnknownEnvironmentError.of(request.env_id, "it is the client's own, and no server serves it")
    if name in GATEWAYS:
        raise UnknownEnvironmentError.of(
            request.env_id, f"it makes what its own env_id names, modules included: ask for that with library {'gym'!r}"
        )


def _load_plugins(request: CreateRequest, namespace: str | None, module: str | None) -> None:
    """Load the entry points of installed packages that may register an unknown id."""
    register_namespace(namespace)
    known = known_id(request.env_id)
    names = [name for name in (namespace, module, None if known is None else known.module) if name is not None]
    for plugin in plugins(*names) if names else ():
        try:
            load_plugin(plugin)
        except ImportFailedError as error:
            raise UnknownEnvironmentError.of(request.env_id, error.detail) from error


def _unknown(
    request: CreateRequest, libraries: tuple[str, ...], why: str, can_be_made: Callable[[CreateRequest], bool] | None
) -> UnknownEnvironmentError:
    for env_id, library in _similar(request.env_id, libraries):
        similar = CreateRequest(env_id, library=library, strict_env_ids=True, imports=request.imports)
        if can_be_made is not None and can_be_made(similar):
            return UnknownEnvironmentError.of(request.env_id, f"no library registers it; did you mean {env_id!r}?")
    # Without Gymnasium's suggestions: it does not know what can be made here.
    return UnknownEnvironmentError.of(request.env_id, GUESS.sub("", why))


def _similar(env_id: str, libraries: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the ids with the most similar names, each in its newest version, and their libraries."""
    newest: dict[str, tuple[int, str, str]] = {}
    for library in reversed(libraries):  # the first library wins where both have a name
        for specification in registrations(library).values():
            version = -1 if specification.version is None else specification.version
            name = _comparable(specification.id)
            if name not in newest or newest[name][2] != library or newest[name][0] < version:
                newest[name] = version, specification.id, library
    for name in difflib.get_close_matches(_comparable(env_id), newest, MAX_SUGGESTIONS_TRIED, MIN_SIMILARITY):
        yield newest[name][1:]


def _comparable(env_id: str) -> str:
    return VERSION_SUFFIX.sub("", env_id[:MAX_COMPARED_LENGTH].strip()).lower()


def _split(requested: str) -> tuple[str | None, str]:
    """Return the module of `module:Env-v0`, and the id; the library explains what is wrong where that is no module's name."""
    module, colon, env_id = requested.partition(":")
    if not colon or not all(part.isidentifier() for part in module.split(".")):
        return None, requested
    return module, env_id


def _check_module(module: str | None, request: CreateRequest, specification: Any) -> None:
    """Refuse an id of another package than the one that the request names.

    Gymnasium would import the module, which the operator alone may, and then ignore it.
    """
    if module is None or is_registered_by(module, specification):
        return
    package = module_of(entry_point_of(specification)).partition(".")[0]
    other = f"{specification.id!r} is registered by {package!r}: ask for it without the module"
    advice = other if module in request.modules else f"{_advice_on_module(module)}; {other}"
    raise UnknownEnvironmentError.of(request.env_id, advice)


def _advice_on_module(module: str) -> str:
    known = known_module(module)
    advice = f"start the server with --import {module}" if known is None else known.advice
    return f"it names the module {module!r}: {advice}"


def registrations(library: str) -> Mapping[str, Any]:
    """Return the specifications that `gymnasium` or `gym` registers, by id."""
    return registry if library == "gymnasium" else gym_compat.load().envs.registration.registry


def _successor(
    libraries: tuple[str, ...], namespace: str | None, name: str, version: int | None
) -> Registration | None:
    for library in libraries:
        newest = _newest(library, namespace, name)
        if newest is not None and (version is None or version < newest.version):
            return Registration(newest.id, library, newest)
        if library == "gymnasium" and namespace is None and version in (0, 4):
            atari = _atari(name, version)
            if atari is not None:
                return atari
    return None


def _newest(library: str, namespace: str | None, name: str) -> Any:
    versions = [
        specification
        for specification in registrations(library).values()
        if (specification.namespace, specification.name) == (namespace, name) and specification.version is not None
    ]
    return max(versions, key=lambda specification: specification.version, default=None)


def _atari(name: str, version: int) -> Registration | None:
    match = ATARI.fullmatch(name)
    if match is None:
        return None
    env_id = f"ALE/{match['game']}-v5"
    specification = registry.get(env_id)
    if specification is None:
        return None
    # As in gym 0.21: v0 repeats the last action with probability 0.25, v4 never.
    kwargs: dict[str, Any] = {"repeat_action_probability": 0.25 if version == 0 else 0.0}
    deterministic = 3 if match["game"] == "SpaceInvaders" else 4
    kwargs["frameskip"] = {"NoFrameskip": 1, "Deterministic": deterministic}.get(match["kind"], (2, 5))
    if match["ram"]:
        kwargs["obs_type"] = "ram"
    return Registration(env_id, "gymnasium", specification, kwargs)


def _why(library: str, env_id: str, namespace: str | None, name: str) -> str:
    """Return the library's error text for an unknown id, with advice where there is some."""
    try:
        (gymnasium if library == "gymnasium" else gym_compat.load()).spec(env_id)
        words = "no library registers it"
    except Exception as error:  # noqa: BLE001 -- each library has its own error classes; only their text is used
        words = str(error)
    atari = ATARI.fullmatch(name)
    if namespace is None and atari is not None and atari["game"] in ATARI_GAMES:
        namespace = "ALE"
    if namespace == "ALE" and library == "gym":
        return f"{words} ale-py registers Atari games with Gymnasium: ask for library 'auto'"
    if namespace == "ALE" and any(specification.namespace == "ALE" for specification in registry.values()):
        return words
    known = known_id("ALE/" if namespace == "ALE" else env_id)
    if known is not None:
        advice = known.advice
        return f"{words.rstrip('.')}. {advice[0].upper()}{advice[1:]}"
    if namespace is not None:
        return f"{words} Where a package registers it, start the server with --import and that package's module"
    return words
