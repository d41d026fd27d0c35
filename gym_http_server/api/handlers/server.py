"""Operations of the tag `server`: health, metrics and shutdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import __version__
from ...runtime.messages import Reply
from ..call import json_reply, void_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...instances.directory import Instances
    from ..call import Call
    from ..telemetry.metrics import Metrics


class ServerHandlers:
    """Handlers of the tag `server`.

    Args:
        instances: the live instances.
        shut_down: stops the server after the current reply.
    """

    def __init__(self, instances: Instances, shut_down: Callable[[], None]) -> None:
        self._instances = instances
        self._shut_down = shut_down

    async def get_health(self, call: Call) -> Reply:
        """Return that the server is up."""
        engine = self._instances.engine.name
        return json_reply(
            {"status": "ok", "version": __version__, "engine": engine, "instances": len(self._instances.all())}
        )

    async def shutdown_server(self, call: Call) -> Reply:
        """Stop the server after this reply."""
        self._shut_down()
        return void_reply(call.accept)


class MetricsHandlers:
    """Handler of the metrics.

    Args:
        metrics: the metrics.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def get_metrics(self, call: Call) -> Reply:
        """Return the metrics."""
        return Reply(await self._metrics.text(), self._metrics.media_type)
