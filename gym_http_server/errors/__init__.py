"""The tree of errors. None knows HTTP: `api/problems.py` maps each to a status.

GymHttpServerError
├── UsageError                      the caller asked for something that cannot be done
│   ├── UnknownInstanceError        no instance has that id
│   ├── UnknownEnvironmentError     no library registers that environment id, or it is malformed
│   ├── InterpreterChoiceError      no interpreter has that name, or several have that environment id
│   ├── EnvironmentCreationError    the environment's constructor refused
│   │   └── MissingDependencyError  a package that the environment needs is not installed
│   ├── InvalidActionError          the action lies outside the action space
│   ├── InvalidValueError           any other value that the environment or its library refuses
│   ├── RenderFormatError           the environment's render mode cannot give the format asked for
│   ├── ForbiddenDirectoryError     the directory lies outside the results roots
│   ├── NoRecordingError            the directory holds no recording that can be read
│   ├── ExportError                 what is recorded cannot be written in that format, or to that directory
│   ├── UnknownEvaluationError      there is no evaluation of that id
│   ├── UnknownEpisodeError         no such episode is recorded, or it has no such step
│   └── UnknownSnapshotError        the instance has no snapshot of that id
├── ConflictError                   right request, wrong moment or wrong instance
│   ├── ResetNeededError            step before the first reset
│   ├── InstanceKindError           an operation of batches for a single environment, or the reverse
│   ├── RenderModeError             the instance has no render mode that gives a frame
│   ├── RecordingExistsError        the directory holds a recording already
│   ├── NotCopyableError            the environment's state cannot be saved or put back
│   ├── InstanceHeldError           somebody else holds the instance
│   ├── HoldEndedError              the token is that of a hold that has ended
│   ├── NoTransitionModelError      the environment has no tabular model
│   └── NoTrajectoriesError         the evaluation has no trajectories, or none that can be verified
├── RecordingFailedError            what was recorded cannot be written
├── FileSystemTimeoutError          the file system does not answer about a path that a client named
├── UploadTargetError               where results are kept cannot be reached, or refuses
├── InquiryFailedError              the process that asks the libraries what they register raised, hung or died
├── ReplyTooLargeError              the reply is over the setting max_reply
├── TooManyInstancesError           there are as many instances as a setting allows
├── TooManyVerificationsError       as many verifications wait as may
├── TooManySnapshotsError           the instance has as many snapshots as a setting allows
├── KeyReusedError                  an idempotency key was used with another request before
├── TooManyLanesError               a batch is to have more lanes than a setting allows
├── OutOfResourcesError             the system gives no further process, descriptor or memory
├── NoShardError                    no shard of the cluster takes another instance, and none can be started
├── ShardUnreachableError           a shard of the cluster does not answer
├── RuntimeDefectError              code of this project failed beside an environment
├── EnvironmentFailure              the environment, third-party code, did something wrong
│   ├── EnvironmentRaisedError      it raised an exception; the instance is still usable
│   ├── EnvironmentResultError      a method of it returned something that Gymnasium's API does not allow
│   ├── EnvironmentDiedError        its process ended during the call
│   ├── CallTimeoutError            it did not answer within call_timeout and was killed
│   ├── RolloutTimeoutError         a rollout was not over within call_timeout and ended itself; the instance is still usable
│   └── InstanceLostError           it died or was killed earlier
└── StartError                      the server cannot start
    ├── AddressError                the address cannot be resolved or listened on
    ├── EngineUnavailableError      this platform cannot run that engine
    ├── InterpreterOptionError      an interpreter that the settings name cannot be used
    ├── ImportFailedError           a module named with --import cannot be imported
    ├── AccessError                 a key, certificate or other means of access cannot be used
    ├── ResultsRootError            recordings cannot lie where --results-root says
    └── TargetUnavailableError      results cannot be kept where --upload-to says
"""

from __future__ import annotations

import math
from typing import Final

from .base import MAX_DETAIL_CHARS as MAX_DETAIL_CHARS
from .base import GymHttpServerError as GymHttpServerError
from .base import every_error as every_error
from .base import shortened as shortened
from .environment import CallTimeoutError as CallTimeoutError
from .environment import EnvironmentDiedError as EnvironmentDiedError
from .environment import EnvironmentFailure as EnvironmentFailure
from .environment import EnvironmentRaisedError as EnvironmentRaisedError
from .environment import EnvironmentResultError as EnvironmentResultError
from .environment import InstanceLostError as InstanceLostError
from .environment import RolloutTimeoutError as RolloutTimeoutError
from .limits import NoShardError as NoShardError
from .limits import OutOfResourcesError as OutOfResourcesError
from .limits import ReplyTooLargeError as ReplyTooLargeError
from .limits import TooManyInstancesError as TooManyInstancesError
from .limits import TooManyLanesError as TooManyLanesError
from .limits import TooManySnapshotsError as TooManySnapshotsError
from .limits import TooManyVerificationsError as TooManyVerificationsError

MAX_RETRY_SECONDS: Final = 5
"""Maximum seconds after which a request for a held instance is to be sent again: it may be given back at any time."""


class UsageError(GymHttpServerError):
    """The caller asked for something that cannot be done."""


class UnknownInstanceError(UsageError):
    """No instance has that id."""

    @classmethod
    def of(cls, instance_id: str) -> UnknownInstanceError:
        """Return the error for `instance_id`. Clients of the v1 contract look for the words before the colon."""
        detail = f"Instance_id {instance_id!r} unknown: create an instance first, or list them"
        return cls(detail, instance_id=instance_id)

    @classmethod
    def idle(cls, instance_id: str, seconds: float) -> UnknownInstanceError:
        """Return the error for an instance that was closed after `seconds` without use."""
        return cls(
            f"Instance_id {instance_id!r} unknown: it was closed after {seconds:g} s without use; create another, or start "
            "the server with a larger --idle-timeout (0 for never)",
            instance_id=instance_id,
            limit=seconds,
            setting="idle_timeout",
        )

    @classmethod
    def expired(cls, instance_id: str, seconds: float) -> UnknownInstanceError:
        """Return the error for an instance that was closed because its lease of `seconds` had run out."""
        return cls(
            f"Instance_id {instance_id!r} unknown: it was closed because nobody had used it or renewed its lease for {seconds:g} s; "
            "create another, and renew its lease in time or give it none",
            instance_id=instance_id,
            limit=seconds,
        )


class UnknownEnvironmentError(UsageError):
    """No library registers that environment id, or it is malformed."""

    @classmethod
    def of(cls, env_id: str, reason: str) -> UnknownEnvironmentError:
        """Return the error for `env_id`. Clients of the v1 contract look for the words before the colon."""
        return cls(f"Attempted to look up malformed environment ID {env_id!r}: {reason}", env_id=env_id)


class InterpreterChoiceError(UsageError):
    """No interpreter has that name, or several have the environment id and the request names none."""


class EnvironmentCreationError(UsageError):
    """The environment's constructor refused; the text is the library's."""


class MissingDependencyError(EnvironmentCreationError):
    """A package that the environment needs is not installed."""


class InvalidActionError(UsageError):
    """The action lies outside the action space."""


class InvalidValueError(UsageError):
    """A value that the environment or its library refuses."""


class RenderFormatError(UsageError):
    """The environment's render mode cannot give the format asked for."""


class ForbiddenDirectoryError(UsageError):
    """The directory lies outside the results roots."""


class NoRecordingError(UsageError):
    """The directory holds no recording that can be read."""


class ExportError(UsageError):
    """What is recorded cannot be written in that format, or to that directory."""


class UnknownEvaluationError(UsageError):
    """There is no evaluation of that id."""


class UnknownEpisodeError(UsageError):
    """No such episode is recorded, or it has no such step."""


class UnknownSnapshotError(UsageError):
    """The instance has no snapshot of that id."""

    @classmethod
    def of(cls, snapshot_id: str) -> UnknownSnapshotError:
        """Return the error for `snapshot_id`."""
        detail = f"the instance has no snapshot {snapshot_id!r}: create one first, or list them"
        return cls(detail, snapshot_id=snapshot_id)


class ConflictError(GymHttpServerError):
    """The request is right, but not at this moment or for this instance."""


class ResetNeededError(ConflictError):
    """A step before the first reset."""


class InstanceKindError(ConflictError):
    """An operation of batches for a single environment, or the reverse."""


class RenderModeError(ConflictError):
    """The instance has no render mode that gives a frame."""


class RecordingExistsError(ConflictError):
    """The directory holds a recording already."""


class NotCopyableError(ConflictError):
    """The environment's state cannot be saved or put back; it is as it was."""


class InstanceHeldError(ConflictError):
    """Somebody else holds the instance; nothing was executed."""

    @classmethod
    def of(cls, name: str | None, seconds: float) -> InstanceHeldError:
        """Return the error for the name of the holder and the seconds until the hold ends without a renewal."""
        return cls(
            f"{name or 'somebody'} plays this instance, and only its holder may change it: nothing was done; send the "
            "request again after Retry-After, until the instance is given back",
            held_by=name,
            retry_after=max(1, min(MAX_RETRY_SECONDS, math.ceil(seconds))),
        )


class HoldEndedError(ConflictError):
    """The token is that of a hold that has ended; nothing was executed."""

    @classmethod
    def of(cls) -> HoldEndedError:
        """Return the error."""
        return cls(
            "the hold of this Instance-Hold has ended, because it was not renewed in time or the instance was given back: "
            "nothing was done; hold the instance again, or leave the header out"
        )


class NoTransitionModelError(ConflictError):
    """The environment has no tabular model."""


class NoTrajectoriesError(ConflictError):
    """The evaluation has no trajectories, or none that can be verified."""

    @classmethod
    def of(cls, evaluation_id: str) -> NoTrajectoriesError:
        """Return the error for an evaluation without trajectories."""
        return cls(
            f"evaluation {evaluation_id!r} has no trajectories: record with startMonitor and trajectories: true, and upload "
            "that recording",
            evaluation_id=evaluation_id,
        )


class RecordingFailedError(GymHttpServerError):
    """A recording cannot be written; its data is kept and written later."""


class FileSystemTimeoutError(GymHttpServerError):
    """The file system does not answer about a path that a client named."""

    @classmethod
    def of(cls, text: str | None, seconds: float) -> FileSystemTimeoutError:
        """Return the error for a path that a client named; None if this lookup waits for those of other requests."""
        what = "other requests' paths" if text is None else ascii(text[:200])
        return cls(
            f"the server's file system did not answer within {seconds:g} s about {what}: name a path elsewhere, or mend what is "
            "mounted there",
            seconds=seconds,
        )


class UploadTargetError(GymHttpServerError):
    """The upload target cannot be reached, or refuses."""


class InquiryFailedError(GymHttpServerError):
    """A process that imports third-party code to query it raised, hung or died."""


class KeyReusedError(GymHttpServerError):
    """An idempotency key was used with another request before."""

    @classmethod
    def of(cls, key: str) -> KeyReusedError:
        """Return the error for a key."""
        return cls(
            f"the Idempotency-Key {key!r} was used with another request before: give each request a key of its own, "
            "and the same only where the same is sent again"
        )


class ShardUnreachableError(GymHttpServerError):
    """A shard of the cluster does not answer."""

    @classmethod
    def of(cls, shard: str, reason: str, *, was_sent: bool) -> ShardUnreachableError:
        """Return the error for a shard's prefix and the reason; `was_sent` if it may have got the request."""
        what = "whether it executed the request is not known" if was_sent else "the request was not executed"
        return cls(
            f"shard {shard} of the cluster does not answer: {reason}; {what}; ask for the state of the instance (getEnv), and if "
            "it is lost, create another",
            shard=shard,
            reason=reason,
        )


class RuntimeDefectError(GymHttpServerError):
    """Code of this project failed beside an environment."""

    @classmethod
    def of(cls, operation: str, what: str) -> RuntimeDefectError:
        """Return the error for an operation and the text of the exception."""
        return cls(
            f"the server has a defect, which is not the environment's: {operation} failed with {what}; its log has the "
            "traceback, please report it"
        )


class StartError(GymHttpServerError):
    """The server cannot start."""


class AddressError(StartError):
    """The address cannot be resolved or listened on."""


class EngineUnavailableError(StartError):
    """This platform cannot run that engine."""


class InterpreterOptionError(StartError):
    """An interpreter that the settings name cannot be used."""


class ImportFailedError(StartError):
    """A module named with --import cannot be imported."""


class AccessError(StartError):
    """A key, certificate or other means of access cannot be used."""


class ResultsRootError(StartError):
    """A directory named by --results-root cannot be used."""


class TargetUnavailableError(StartError):
    """The target named by --upload-to cannot be used."""


# Errors are told, and pickled, by the name under which they are public.
for _error in every_error():
    _error.__module__ = __name__
