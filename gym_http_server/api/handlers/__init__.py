"""The handlers of the operations: a module per tag of the contract, and the table by operationId."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from ...results.kwargs import KwargsGuard
from ...results.roots import Roots
from .batches import BatchHandlers
from .episodes import EpisodeHandlers
from .instances import InstanceHandlers
from .lookups import Lookups
from .monitor import MonitorHandlers
from .options import OptionsCheck
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
    from ...runtime.registry.registry import Registry
    from ..responses import Response

Handler: TypeAlias = "Callable[..., Awaitable[Response]]"


def handler_table(
    settings: Settings,
    instances: Instances,
    shut_down: Callable[[], None],
    results: Results | None = None,
    registry: Registry | None = None,
) -> dict[str, Handler]:
    """Return the handler of every operation, by operationId.

    Args:
        settings: the server's settings.
        instances: the live instances.
        shut_down: stops the server after the current reply.
        results: evaluations of recordings; None in an environment's process, which does not serve them.
        registry: the environments that can be made; None likewise.
    """
    guard = KwargsGuard(Roots(settings.results_root), settings.imports)
    lookups = Lookups(settings.call_timeout)
    # An environment's process may block on the file system: it serves nobody else, and `call_timeout` ends it.
    options = OptionsCheck(guard, None if results is None else lookups)
    of_instances = InstanceHandlers(settings, instances, guard, lookups)
    of_episodes = EpisodeHandlers(settings, instances, options)
    of_batches = BatchHandlers(instances, options)
    of_planning = PlanningHandlers(settings, instances)
    of_spaces = SpaceHandlers(instances)
    of_server = ServerHandlers(instances, shut_down)
    table: dict[str, Handler] = {
        "createEnv": of_instances.create,
        "listEnvs": of_instances.list,
        "getEnv": of_instances.get,
        "updateEnv": of_instances.update,
        "renewLeases": of_instances.renew_leases,
        "deleteEnv": of_instances.close,
        "closeEnv": of_instances.close,
        "resetEnv": of_episodes.reset,
        "stepEnv": of_episodes.step,
        "rollout": of_episodes.rollout,
        "resetBatch": of_batches.reset,
        "stepBatch": of_batches.step,
        "renderEnv": of_episodes.render,
        "getTransitions": of_planning.transitions,
        "createSnapshot": of_planning.create,
        "listSnapshots": of_planning.list,
        "restoreSnapshot": of_planning.restore,
        "deleteSnapshot": of_planning.delete,
        "getActionSpace": of_spaces.action_space,
        "getObservationSpace": of_spaces.observation_space,
        "sampleAction": of_spaces.sample_action,
        "actionSpaceContainsValue": of_spaces.contains_action_text,
        "actionSpaceContains": of_spaces.contains_action,
        "observationSpaceContains": of_spaces.contains_observation,
        "shutdownServer": of_server.shutdown,
        "getHealth": of_server.health,
        "getMetrics": of_server.health,
    }
    if results is not None:
        of_monitor = MonitorHandlers(instances, results.recording_directory, lookups)
        of_results = ResultsHandlers(results)
        # Not at the top: it takes 80 ms to import, and an environment's process does not need it.
        from ..telemetry.metrics import Metrics

        of_metrics = MetricsHandlers(Metrics(instances))
        table |= {
            "startMonitor": of_monitor.start,
            "closeMonitor": of_monitor.close,
            "getMonitor": of_monitor.get,
            "uploadRecording": of_results.upload,
            "listEvaluations": of_results.list,
            "getEvaluation": of_results.get,
            "getMetrics": of_metrics.get,
        }
    if registry is not None:
        table["listRegistry"] = RegistryHandlers(registry).list
    return table
