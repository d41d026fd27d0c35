"""Operations of the tag `episodes`: reset, step, rollout and render."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import InvalidValueError
from ...runtime.messages import MSGPACK
from ..content.negotiation import acceptable, form_of
from ..idempotency import named
from ..responses import reply_response

if TYPE_CHECKING:
    from ...config import Settings
    from ...instances.directory import Instances
    from ...runtime.idempotency import Once
    from ..responses import Response
    from .options import OptionsCheck

FRAME_TYPES = ("image/png", "image/jpeg", "text/plain", MSGPACK)


class EpisodeHandlers:
    """The handlers.

    Args:
        settings: the server's settings.
        instances: the live instances.
        options: what the options of a reset are held to.
    """

    def __init__(self, settings: Settings, instances: Instances, options: OptionsCheck) -> None:
        self._options = options
        self._max_reply = settings.max_reply
        self._instances = instances

    async def reset(
        self, instance_id: str, body: Any = None, accept: str | None = None, once: Once | None = None
    ) -> Response:
        """Start an episode. Old clients send null, "", [] or nothing: only an object says anything."""
        asked = body if isinstance(body, dict) else {}
        await self._options.check(asked.get("options"))
        arguments = {"seed": seed_of(asked), "options": asked.get("options"), **form_of(accept), **named(once)}
        if asked.get("types"):
            arguments["types"] = True
        return reply_response(await self._instances.get(instance_id).call("reset", arguments))

    async def step(
        self, instance_id: str, body: dict[str, Any], accept: str | None = None, once: Once | None = None
    ) -> Response:
        """Take one action."""
        arguments = {"action": body["action"], **form_of(accept), **named(once)}
        if body.get("types"):
            arguments["types"] = True
        if body.get("render") and "media_type" in arguments:
            # JSON has no form for a frame that would not take longer than all the rest.
            arguments |= {"render": True, "limit": self._max_reply}
        return reply_response(await self._instances.get(instance_id).call("step", arguments))

    async def rollout(
        self, instance_id: str, body: dict[str, Any], accept: str | None = None, once: Once | None = None
    ) -> Response:
        """Take many steps."""
        instance = self._instances.get(instance_id)
        arguments = {"limit": self._max_reply, **rollout_arguments(body), **form_of(accept), **named(once)}
        return reply_response(await instance.call("rollout", arguments))

    async def render(self, instance_id: str, accept: str | None = None, lane: int | None = None) -> Response:
        """Answer the current frame."""
        arguments = {"media_types": acceptable(accept, FRAME_TYPES), "lane": lane}
        return reply_response(await self._instances.get(instance_id).call("render", arguments))


def seed_of(body: dict[str, Any], name: str = "seed") -> Any:
    """Return the seed that a body has as a number, or under `wide_…` as decimal digits.

    Raises:
        InvalidValueError: it has both.
    """
    seed, wide = body.get(name), body.get(f"wide_{name}")
    if seed is not None and wide is not None:
        raise InvalidValueError(f"both {name} and wide_{name} are given: give one of them")
    return wide if seed is None else seed


def rollout_arguments(body: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked of a rollout: either actions, or a policy and for how long.

    Raises:
        InvalidValueError: it is neither, or both.
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
