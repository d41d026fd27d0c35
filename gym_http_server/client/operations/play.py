"""`PlayMethods`: take an instance over from its agent, or play beside it."""

from __future__ import annotations

from typing import Any

from ..http.problem import HoldEnded
from .base import OperationBase, given, instance_path


class PlayMethods(OperationBase):
    """The operations for people who play an instance."""

    def hold_env(
        self, instance_id: str, *, mode: str | None = None, name: str | None = None, seconds: float | None = None
    ) -> dict[str, Any]:
        """Take an instance over, or play beside its agent; a client that holds it already renews its hold.

        From now on the requests of this client for the instance are the holder's.

        Args:
            instance_id: the instance.
            mode: `exclusive`, the default: others who would change it are refused; `shared`: nobody is.
            name: who plays, for those who are refused.
            seconds: after which the hold ends without a renewal; by default 30.

        Returns:
            The `token`, `mode`, `name`, `seconds`, and `until`, a time.

        Raises:
            InstanceHeld: somebody else holds the instance.
            HoldEnded: the hold to renew has ended; the next call begins another.
        """
        body = given(mode=mode, name=name, seconds=seconds)
        try:
            hold = self._call("POST", instance_path(instance_id, "/hold/"), body)
        except HoldEnded:
            self._note_hold(instance_id, None)  # so that the next call begins another
            raise
        self._note_hold(instance_id, hold["token"])
        return hold

    def get_controls(self, instance_id: str) -> dict[str, Any]:
        """Return how a person plays a single environment, as far as it tells.

        Returns:
            `keys`, a list with `keys`, which are pressed together, and their `action`; `meanings`, a text for each action.
        """
        return self._call("GET", instance_path(instance_id, "/controls/"), repeatable=True)

    def release_env(self, instance_id: str, *, force: bool = False) -> bool:
        """Give an instance back; return whether there was a hold to end.

        Args:
            instance_id: the instance.
            force: end all holds, whoever has them.
        """
        path = instance_path(instance_id, "/hold/?force=true" if force else "/hold/")
        try:
            return bool(self._call("DELETE", path, repeatable=True)["released"])
        finally:
            self._note_hold(instance_id, None)
