"""The handlers of the operations: a module per tag of the contract, and the table by operationId."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from ...results.kwargs import KwargsGuard
from ...results.roots import Roots
from ...runtime.operations import OPERATIONS
from .batches import BatchHandlers
from .episodes import EpisodeHandlers
from .instances import InstanceHandlers
from .lookups import Lookups, OptionsCheck
from .monitor import MonitorHandlers
from .planning import PlanningHandlers
from .registry import RegistryHandlers
from .results import ResultsHandlers
from .server import MetricsHandlers, ServerHandlers
from .spaces import SpaceHandlers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ...config import Settings
    from ...instances.directory import Instances
    from ...results.scoreboard import Results
    from ...runtime.messages import Reply
    from ...runtime.registry.registry import Registry

Handler: TypeAlias = "Callable[..., Awaitable[Reply]]"


def handler_table(
    settings: Settings,
    instances: Instances,
    shut_down: Callable[[], None],
    results: Results | None = None,
    registry: Registry | None = None,
) -> dict[str, Handler]:
    """Return the handlers by operationId: the methods named as `Operation.handler` says.

    Args:
        settings: the server's settings.
        instances: the live instances.
        shut_down: stops the server after the current reply.
        results: evaluations of recordings; None in an environment's process, which serves neither them nor metrics and monitors.
        registry: the environments that can be made; None likewise.
    """
    guard = KwargsGuard(Roots(settings.results_root), settings.imports)
    lookups = Lookups(settings.call_timeout)
    # An environment's process may block on the file system: it serves nobody else, and `call_timeout` ends it.
    options = OptionsCheck(guard, None if results is None else lookups)
    handlers: list[object] = [
        InstanceHandlers(settings, instances, guard, lookups),
        EpisodeHandlers(settings, instances, options),
        BatchHandlers(instances, options),
        PlanningHandlers(settings, instances),
        SpaceHandlers(instances),
        ServerHandlers(instances, shut_down),
    ]
    if results is not None:
        # Not at the top: it takes 80 ms to import, and an environment's process does not need it.
        from ..telemetry.metrics import Metrics

        handlers += [
            MonitorHandlers(instances, results.recording_directory, lookups),
            ResultsHandlers(results),
            MetricsHandlers(Metrics(instances)),
        ]
    if registry is not None:
        handlers.append(RegistryHandlers(registry))
    return {
        operation.operation_id: getattr(each, operation.handler)
        for operation in OPERATIONS
        for each in handlers
        if hasattr(each, operation.handler)
    }
