"""Errors of environments: third-party code that raised, hung, died or returned something impossible."""

from __future__ import annotations

from .base import GymHttpServerError


class EnvironmentFailure(GymHttpServerError):
    """The environment, third-party code, did something wrong."""


class EnvironmentRaisedError(EnvironmentFailure):
    """The environment raised an exception; the instance is still usable."""


class EnvironmentResultError(EnvironmentFailure):
    """A method of the environment returned something that Gymnasium's API does not allow."""


class EnvironmentDiedError(EnvironmentFailure):
    """The environment's process ended during the call."""


class CallTimeoutError(EnvironmentFailure):
    """The environment did not answer in time and was killed."""


class RolloutTimeoutError(EnvironmentFailure):
    """A rollout ended itself because `call_timeout` was over; the instance is still usable."""

    @classmethod
    def of(cls, call_timeout: float, steps: int, episodes: int) -> RolloutTimeoutError:
        """Return the error for a rollout after `steps` steps and `episodes` episodes."""
        return cls(
            f"the rollout was not over in time and ended itself after {steps} steps and {episodes} episodes, which were taken; "
            f"the instance goes on from there: ask for fewer, or raise --call-timeout ({call_timeout:g} s), or call_timeout at "
            "createEnv",
            steps=steps,
            episodes=episodes,
            seconds=call_timeout,
        )


class InstanceLostError(EnvironmentFailure):
    """The environment died or was killed earlier; the instance can only be closed."""

    @classmethod
    def of(cls, instance_id: str, loss: str) -> InstanceLostError:
        """Return the error for a lost instance and the reason of the loss."""
        detail = f"instance {instance_id} is lost: {loss}; close it and create another"
        return cls(detail, instance_id=instance_id)
