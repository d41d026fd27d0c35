"""Errors of limits: a setting, the system or the cluster allows no more."""

from __future__ import annotations

from .base import GymHttpServerError


class ReplyTooLargeError(GymHttpServerError):
    """The reply is over the setting `max_reply`."""

    @classmethod
    def of(cls, size: int, limit: int) -> ReplyTooLargeError:
        """Return the error for a reply of `size` bytes where `limit` are allowed."""
        detail = f"the reply has {size} bytes and the limit is {limit}: start the server with a larger --max-reply"
        return cls(detail, limit=limit, setting="max_reply")


class TooManyInstancesError(GymHttpServerError):
    """There are as many instances as the setting `max_envs` allows."""

    @classmethod
    def of(cls, limit: int) -> TooManyInstancesError:
        """Return the error where `limit` instances are allowed."""
        detail = f"there are {limit} instances and the limit is {limit}: close some, or start the server with a larger --max-envs"
        return cls(detail, limit=limit, setting="max_envs")


class TooManyVerificationsError(GymHttpServerError):
    """As many verifications wait as may."""

    @classmethod
    def of(cls, limit: int) -> TooManyVerificationsError:
        """Return the error where `limit` verifications may wait."""
        return cls(f"{limit} verifications wait, which is the limit: try again when some are over", limit=limit)


class TooManySnapshotsError(GymHttpServerError):
    """The instance has as many snapshots as the setting `max_snapshots` allows."""

    @classmethod
    def of(cls, limit: int) -> TooManySnapshotsError:
        """Return the error where `limit` snapshots are allowed."""
        return cls(
            f"the instance has {limit} snapshots and the limit is {limit}: delete some, or start the server with a larger "
            "--max-snapshots",
            limit=limit,
            setting="max_snapshots",
        )


class TooManyLanesError(GymHttpServerError):
    """A batch of more lanes than the setting `max_lanes` or `max_async_lanes` allows."""

    @classmethod
    def of(cls, lanes: int, setting: str, limit: int) -> TooManyLanesError:
        """Return the error for a batch of `lanes` where the setting allows `limit`."""
        option = "--" + setting.replace("_", "-")
        detail = f"num_envs is {lanes} and the limit is {limit}: start the server with a larger {option}"
        return cls(detail, limit=limit, setting=setting)


class OutOfResourcesError(GymHttpServerError):
    """The system gives no further process, file descriptor or memory for an environment."""

    @classmethod
    def of(cls, reason: str) -> OutOfResourcesError:
        """Return the error with the system's reason."""
        return cls(
            f"there is no room for another environment ({reason}): close some, or raise the limits that the server runs "
            "under (ulimit -n for descriptors, ulimit -u for processes)"
        )


class NoShardError(GymHttpServerError):
    """No shard of the cluster takes another instance, and none can be started."""

    @classmethod
    def of(cls, reason: str) -> NoShardError:
        """Return the error with the reason, such as that no node has room."""
        return cls(
            f"the cluster takes no further instance: {reason}; close some instances or add a node, and try again, or ask its "
            "operator"
        )
