"""The handlers of the operations: a module per tag of the contract, and the tables by operationId.

Most operations are one call of an instance. They have a plan, which returns the arguments of that call; the server and
environments' processes execute it in their own ways. The other operations have a handler, which answers the request.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ...instances.shared_replies import SharedReplies
from ...results.kwargs import KwargsGuard
from ...results.roots import Roots
from ...runtime.operations import OPERATIONS
from ..content.paths import Lookups, OptionsCheck
from .batches import BatchPlans
from .episodes import EpisodePlans
from .instances import InstanceHandlers
from .monitor import MonitorHandlers
from .openenv import Openenv, OpenenvHandlers
from .planning import PlanningPlans
from .play import PlayHandlers
from .recordings import RecordingHandlers
from .registry import RegistryHandlers
from .results import ResultsHandlers
from .server import MetricsHandlers, ServerHandlers
from .spaces import SpaceHandlers, SpacePlans

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from ...config import Settings
    from ...instances.directory import Instances
    from ...interpreters.interpreters import Interpreters
    from ...results.scoreboard import Results
    from ...runtime.messages import Reply
    from ...runtime.registry.registry import Registry
    from ...verification.verifier import Replays

Plan: TypeAlias = "Callable[..., dict[str, Any]]"
"""Takes the `Call`, the parameters of the path and the body; returns the arguments of the instance's call."""

Handler: TypeAlias = "Callable[..., Awaitable[Reply]]"
"""Takes the `Call`, all parameters and the body; returns the reply."""


SHARED: Final = ("renderEnv", "getLive")
"""The operationIds of operations whose replies viewers share; they take `max_age`."""


def plan_table(settings: Settings) -> dict[str, Plan]:
    """Return the plans by operationId: the methods named as `Operation.handler` says."""
    return _methods((EpisodePlans(settings), BatchPlans(), PlanningPlans(settings), SpacePlans()))


def handler_table(
    settings: Settings,
    instances: Instances,
    shut_down: Callable[[], None],
    results: Results,
    registry: Registry,
    interpreters: Interpreters,
    execution: Execution,
    *,
    replays: Replays,
    openenv: Callable[[], Openenv],
) -> dict[str, Handler]:
    """Return a handler for every operation, by operationId; those with a plan are executed.

    Args:
        settings: the server's settings.
        instances: the live instances.
        shut_down: stops the server after the current reply.
        results: evaluations of recordings.
        registry: the environments that can be made.
        interpreters: the interpreters besides the server's own Python.
        execution: executes calls of instances.
        replays: replays trajectories of evaluations.
        openenv: returns what serves OpenEnv's clients; called on first use.
    """
    # Not at the top: it takes 80 ms to import, and an environment's process does not need it.
    from ..telemetry.metrics import Metrics

    lookups = Lookups(settings.call_timeout)
    handlers = (
        InstanceHandlers(settings, instances, guard_of(settings), lookups, interpreters),
        PlayHandlers(instances),
        SpaceHandlers(instances),
        ServerHandlers(instances, shut_down),
        MonitorHandlers(instances, results.recording_directory, lookups),
        ResultsHandlers(results, replays),
        RecordingHandlers(results, replays),
        MetricsHandlers(Metrics(instances)),
        RegistryHandlers(registry, interpreters),
        OpenenvHandlers(settings, openenv),
    )
    plans = plan_table(settings)
    calls = {each.operation_id: each.call for each in OPERATIONS}
    planned = {name: execution.handler(calls[name], plan) for name, plan in plans.items()}
    planned |= {name: execution.shared_handler(calls[name], plans[name]) for name in SHARED}
    return {**_methods(handlers), **planned}


def guard_of(settings: Settings) -> KwargsGuard:
    """Return the rules for clients' kwargs and options."""
    return KwargsGuard(Roots(settings.results_root), (*settings.imports, *settings.interpreter_import))


class Execution:
    """Executes calls of the server's instances.

    Args:
        settings: the server's settings.
        instances: the live instances.
    """

    def __init__(self, settings: Settings, instances: Instances) -> None:
        self._instances = instances
        self._shared = SharedReplies()
        self._options = OptionsCheck(guard_of(settings), Lookups(settings.call_timeout))

    async def execute(self, call: str, instance_id: str, arguments: Mapping[str, Any]) -> Reply:
        """Execute a call of an instance; raise as `Instance.call` and, for options of a reset, `OptionsCheck.check`."""
        if options := arguments.get("options"):
            await self._options.check(options)
        return await self._instances.get(instance_id).call(call, arguments)

    def handler(self, call: str, plan: Plan) -> Handler:
        """Return the handler of an operation with a plan."""

        async def handle(**given: Any) -> Reply:
            instance_id = given.pop("instance_id")
            return await self.execute(call, instance_id, plan(**given))

        return _with_parameters(handle, plan, "instance_id")

    def shared_handler(self, call: str, plan: Plan) -> Handler:
        """Return the handler of an operation with a plan whose replies viewers share."""

        async def handle(max_age: float = 0, **given: Any) -> Reply:
            instance = self._instances.get(given.pop("instance_id"))
            return await self._shared.of(instance, call, plan(**given), max_age)

        return _with_parameters(handle, plan, "instance_id", "max_age")


def _with_parameters(handle: Handler, plan: Plan, *names: str) -> Handler:
    """Return a handler with the plan's parameters and others, which connexion reads to know what to pass."""
    others = (inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names)
    functools.update_wrapper(handle, plan)
    del handle.__wrapped__  # type: ignore[attr-defined]  # connexion would read the plan's parameters
    handle.__signature__ = inspect.Signature((*inspect.signature(plan).parameters.values(), *others))  # type: ignore[attr-defined]  # PEP 362
    return handle


def _methods(objects: Iterable[object]) -> dict[str, Any]:
    return {
        operation.operation_id: getattr(each, operation.handler)
        for operation in OPERATIONS
        for each in objects
        if hasattr(each, operation.handler)
    }
