"""Operations of the tag `play`: take an instance over from its agent, or play beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from ...errors import EnvironmentRaisedError, InvalidValueError
from ..call import HOLD_HEADER, json_reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...instances.directory import Instances
    from ...runtime.messages import Reply
    from ..call import Call


class PlayHandlers:
    """Handlers of the tag `play`.

    Args:
        instances: the live instances.
    """

    def __init__(self, instances: Instances) -> None:
        self._instances = instances

    async def hold_env(self, call: Call, instance_id: str, body: dict[str, Any]) -> Reply:
        """Begin or renew a hold."""
        name = body.get("name")
        if name is not None and not name.isprintable():
            raise InvalidValueError(
                f"name is to be one line of printable characters, and it is {ascii(name)[:200]}", parameter="name"
            )
        seconds = body.get("seconds")
        asked = {"mode": body.get("mode"), "name": name, "seconds": None if seconds is None else float(seconds)}
        told = await self._announced(instance_id, "hold", {"token": call.hold, **asked})
        return json_reply(told)

    async def release_env(self, call: Call, instance_id: str, force: bool = False) -> Reply:
        """End a hold, or all."""
        self._instances.get(instance_id)  # an unknown one is named before anything else
        if call.hold is None and not force:
            raise InvalidValueError(
                f"nothing says which hold is to end: send its token in the header {HOLD_HEADER}, or ask with force=true for "
                "the end of all"
            )
        told = await self._announced(instance_id, "release", {"token": call.hold, "force": force})
        return json_reply(told)

    async def get_controls(self, call: Call, instance_id: str) -> Reply:
        """Return the keys and the meanings of the actions."""
        return await self._instances.get(instance_id).call("controls", {})

    async def _announced(self, instance_id: str, call: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the reply to a call, without the state of the instance's holds, which is noted."""
        instance = self._instances.get(instance_id)
        told = orjson.loads((await instance.call(call, arguments)).body)
        # Third-party code runs in the process that answered.
        if not isinstance(told, dict):
            raise EnvironmentRaisedError("the environment's process described a hold in an unknown form")
        instance.hold.note(told.pop("announced", None))
        return told
