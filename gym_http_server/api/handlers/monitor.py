"""Operations of the tag `monitor`: record the episodes of an instance."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import InvalidValueError
from ..call import void_reply

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ...instances.directory import Instances
    from ...results.kwargs import Note
    from ...runtime.messages import Reply
    from ..call import Call
    from ..content.paths import Lookups


class MonitorHandlers:
    """Handlers of the tag `monitor`.

    Args:
        instances: the live instances.
        resolve: returns the directory for a client's path, if it may be written to.
        lookups: runs `resolve`, which accesses the file system.
    """

    def __init__(self, instances: Instances, resolve: Callable[[str], Path], lookups: Lookups) -> None:
        self._instances = instances
        self._resolve = resolve
        self._lookups = lookups

    async def start_monitor(self, call: Call, instance_id: str, body: dict[str, Any]) -> Reply:
        """Start recording."""
        instance = self._instances.get(instance_id)
        named = body["directory"]

        def resolve(note: Note) -> Path:
            note(named)
            return self._resolve(named)

        arguments = {
            "directory": str(await self._lookups.within_time(resolve)),
            "force": flag("force", body.get("force")),
            "resume": flag("resume", body.get("resume")),
            "video_callable": body.get("video_callable", False),
            "trajectories": body.get("trajectories", False),
        }
        await instance.call("monitor_start", call.held(arguments))
        instance.metadata = replace(instance.metadata, recording=arguments["directory"])
        return void_reply(call.accept)

    async def close_monitor(self, call: Call, instance_id: str) -> Reply:
        """Stop recording."""
        await self._instances.get(instance_id).call("monitor_close", call.held({}))
        return void_reply(call.accept)

    async def get_monitor(self, call: Call, instance_id: str) -> Reply:
        """Return the state of the recording."""
        return await self._instances.get(instance_id).call("monitor", {})


def flag(name: str, value: Any) -> bool:
    """Return a boolean; old clients also send the texts `true` and `false`.

    Raises:
        InvalidValueError: the value is something else.
    """
    found = {None: False, False: False, True: True, "false": False, "true": True}.get(
        value if isinstance(value, bool | str | None) else "neither"
    )
    if found is None:
        raise InvalidValueError(f"{name} is {value!r}: give true or false")
    return found
