"""Plans of the tag `episodes`: the calls of reset, step, rollout and render."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import InvalidValueError
from ...runtime.messages import MSGPACK
from ..content.headers import acceptable

if TYPE_CHECKING:
    from ...config import Settings
    from ..call import Call

FRAME_TYPES = ("image/png", "image/jpeg", "text/plain", MSGPACK)


class EpisodePlans:
    """Plans of the tag `episodes`.

    Args:
        settings: the server's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._max_reply = settings.max_reply

    def reset_env(self, call: Call, body: Any = None) -> dict[str, Any]:
        """Start an episode. Old clients send null, "", [] or nothing, which count as an empty object."""
        asked = body if isinstance(body, dict) else {}
        arguments = call.arguments(seed=seed_of(asked), options=asked.get("options"))
        if asked.get("types"):
            arguments["types"] = True
        return arguments

    def step_env(self, call: Call, body: dict[str, Any]) -> dict[str, Any]:
        """Take one action."""
        arguments = call.arguments(action=body["action"])
        if body.get("types"):
            arguments["types"] = True
        if body.get("render") and "media_type" in arguments:
            # Not in JSON, where encoding the frame would take longer than everything else.
            arguments |= {"render": True, "limit": self._max_reply}
        return arguments

    def rollout(self, call: Call, body: dict[str, Any]) -> dict[str, Any]:
        """Take many steps."""
        arguments = call.arguments(limit=self._max_reply, **rollout_arguments(body))
        if body.get("types"):
            arguments["types"] = True
        return arguments

    def render_env(self, call: Call, lane: int | None = None) -> dict[str, Any]:
        """Return the current frame."""
        return {"media_types": acceptable(call.accept, FRAME_TYPES), "lane": lane}

    def get_live(
        self, call: Call, lane: int | None = None, max_elements: int | None = None, after_episode: int = 0
    ) -> dict[str, Any]:
        """Return the latest step."""
        return call.arguments(lane=lane, max_elements=max_elements, after_episode=after_episode)


def seed_of(body: dict[str, Any], name: str = "seed") -> Any:
    """Return the seed of a body: a number, or decimal digits under `wide_…`.

    Raises:
        InvalidValueError: both are given.
    """
    seed, wide = body.get(name), body.get(f"wide_{name}")
    if seed is not None and wide is not None:
        raise InvalidValueError(f"both {name} and wide_{name} are given: give one of them")
    return wide if seed is None else seed


def rollout_arguments(body: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a rollout: either actions, or a policy with a number of steps or episodes.

    Raises:
        InvalidValueError: the body has neither, or both.
    """
    asked = {name: body.get(name) for name in ("actions", "policy", "steps", "episodes")}
    given = [name for name in ("actions", "policy", "steps", "episodes") if asked[name] is not None]
    if given not in (["actions"], ["policy", "steps"], ["policy", "episodes"]):
        raise InvalidValueError(
            "a rollout takes either actions, or policy with steps or with episodes; "
            f"this one has {', '.join(given) or 'none of them'}"
        )
    del asked["policy"]
    return {**asked, "seed": seed_of(body)}
