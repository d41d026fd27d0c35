"""Environment ids: which library registers one, and which successor serves one that is retired."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import gymnasium
from gymnasium.envs.registration import parse_env_id, registry

from ...errors import UnknownEnvironmentError
from . import gym_compat
from .dependencies import REQUIREMENTS, pip_command
from .found import Found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..messages import CreateRequest

OWN_NAMESPACE = "gym_http_server"
"""The namespace of the client's own environment, which a server never serves: it would serve itself."""

ATARI = re.compile(r"(?P<game>[A-Z][A-Za-z0-9]*?)(?P<ram>-ram)?(?P<kind>Deterministic|NoFrameskip)?")
"""The names of Atari environments before they had a namespace, from gym 0.21's registration."""


ATARI_GAMES = frozenset(
    """
    Adventure AirRaid Alien Amidar Assault Asterix Asteroids Atlantis BankHeist BattleZone BeamRider Berzerk Bowling
    Boxing Breakout Carnival Centipede ChopperCommand CrazyClimber Defender DemonAttack DoubleDunk ElevatorAction
    Enduro FishingDerby Freeway Frostbite Gopher Gravitar Hero IceHockey Jamesbond JourneyEscape Kangaroo Krull
    KungFuMaster MontezumaRevenge MsPacman NameThisGame Phoenix Pitfall Pong Pooyan PrivateEye Qbert Riverraid
    RoadRunner Robotank Seaquest Skiing Solaris SpaceInvaders StarGunner Tennis TimePilot Tutankham UpNDown Venture
    VideoPinball WizardOfWor YarsRevenge Zaxxon
    """.split()  # noqa: SIM905 -- a list would take a line for each
)
"""The games that gym had, so that a server without ale-py can say what it needs."""

GUESS = re.compile(r" Did you mean: [^?]*\?")
"""What Gymnasium adds to the error for an id that it does not know."""

GATEWAYS = frozenset({"GymV21Environment", "GymV26Environment"})
"""Environments of shimmy that hand an id of the caller's to gym, which imports the module named in it."""


def find(request: CreateRequest) -> Found:
    """Return what serves the id of a request: exactly that id, or its successor where it is retired.

    Raises:
        UnknownEnvironmentError: nothing does.
    """
    env_id = _without_module(request)
    libraries = ("gymnasium", "gym") if request.library == "auto" else (request.library,)
    if request.library == "auto" and not gym_compat.available():
        libraries = ("gymnasium",)
    try:
        namespace, name, version = parse_env_id(env_id)
    except (gymnasium.error.Error, ValueError) as error:  # ValueError: a version of more digits than int() takes
        raise _unknown(request, libraries, str(error)) from None
    if namespace == OWN_NAMESPACE:
        raise UnknownEnvironmentError.of(request.env_id, "it is the client's own, and no server serves it")
    if name in GATEWAYS:
        raise UnknownEnvironmentError.of(
            request.env_id, f"it makes what its own env_id names, modules included: ask for that with library {'gym'!r}"
        )
    for library in libraries:
        specification = registrations(library).get(env_id)
        if specification is not None:
            return Found(env_id, library, specification)
    successor = _successor(libraries, namespace, name, version)
    if successor is None:
        raise _unknown(request, libraries, _why(libraries[0], env_id, namespace, name))
    notice = f"{env_id} is retired; {successor.env_id} is served"
    if version is None:
        notice = f"{env_id} names no version; {successor.env_id} is served"
    elif request.strict_env_ids:
        raise UnknownEnvironmentError.of(
            request.env_id,
            f"it is retired and the server was started with --strict-env-ids: ask for {successor.env_id}",
        )
    return Found(successor.env_id, successor.library, successor.specification, successor.kwargs, notice)


def _unknown(request: CreateRequest, libraries: tuple[str, ...], why: str) -> UnknownEnvironmentError:
    from .nearest import nearest

    meant = nearest(request, libraries)
    # Without the library's own guesses, for it does not know what can be made here.
    reason = GUESS.sub("", why) if meant is None else f"no library registers it; did you mean {meant!r}?"
    return UnknownEnvironmentError.of(request.env_id, reason)


def _without_module(request: CreateRequest) -> str:
    module, colon, env_id = request.env_id.partition(":")
    if not colon:
        return request.env_id
    if module in request.imports:
        return env_id
    if not all(part.isidentifier() for part in module.split(".")):
        return request.env_id  # names no module, and the library says what is wrong with it
    raise UnknownEnvironmentError.of(
        request.env_id, f"it names the module {module!r}: start the server with --import {module}"
    )


def registrations(library: str) -> Mapping[str, Any]:
    """Return the specifications that `gymnasium` or `gym` has, by id."""
    return registry if library == "gymnasium" else gym_compat.load().envs.registration.registry


def _successor(libraries: tuple[str, ...], namespace: str | None, name: str, version: int | None) -> Found | None:
    for library in libraries:
        newest = _newest(library, namespace, name)
        if newest is not None and (version is None or version < newest.version):
            return Found(newest.id, library, newest)
        if library == "gymnasium" and namespace is None and version in (0, 4):
            atari = _atari(name, version)
            if atari is not None:
                return atari
    return None


def _newest(library: str, namespace: str | None, name: str) -> Any:
    versions = [
        each
        for each in registrations(library).values()
        if (each.namespace, each.name) == (namespace, name) and each.version is not None
    ]
    return max(versions, key=lambda each: each.version, default=None)


def _atari(name: str, version: int) -> Found | None:
    match = ATARI.fullmatch(name)
    if match is None:
        return None
    env_id = f"ALE/{match['game']}-v5"
    specification = registry.get(env_id)
    if specification is None:
        return None
    # As gym 0.21 registered them: v0 repeats the last action one time in four, v4 never.
    kwargs: dict[str, Any] = {"repeat_action_probability": 0.25 if version == 0 else 0.0}
    deterministic = 3 if match["game"] == "SpaceInvaders" else 4
    kwargs["frameskip"] = {"NoFrameskip": 1, "Deterministic": deterministic}.get(match["kind"], (2, 5))
    if match["ram"]:
        kwargs["obs_type"] = "ram"
    return Found(env_id, "gymnasium", specification, kwargs)


def _why(library: str, env_id: str, namespace: str | None, name: str) -> str:
    """Return why an id is unknown, in the library's own words, and what to do where that is known."""
    try:
        (gymnasium if library == "gymnasium" else gym_compat.load()).spec(env_id)
        words = "no library registers it"
    except Exception as error:  # noqa: BLE001 -- each library has its own tree, and all of it is words here
        words = str(error)
    atari = ATARI.fullmatch(name)
    if namespace == "ALE" or (namespace is None and atari is not None and atari["game"] in ATARI_GAMES):
        if library == "gym":
            return f"{words} ale-py registers Atari games with Gymnasium: ask for library 'auto'"
        if not any(each.namespace == "ALE" for each in registry.values()):
            install = pip_command(REQUIREMENTS["ale_py"])
            return f"{words} Install ale-py ({install}) and start the server with --import ale_py"
        return words
    if namespace is not None:
        return f"{words} Where a package registers it, start the server with --import and that package's module"
    return words
