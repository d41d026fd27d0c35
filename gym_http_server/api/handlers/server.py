"""Operations of the tag `server`: health, metrics and shutdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import __version__
from ..responses import Response, json_response, void_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...instances.directory import Instances
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

    async def health(self) -> Response:
        """Return that the server is up."""
        engine = self._instances.engine.name
        return json_response(
            {"status": "ok", "version": __version__, "engine": engine, "instances": len(self._instances.all())}
        )

    async def shutdown(self, accept: str | None = None) -> Response:
        """Stop the server after this reply."""
        self._shut_down()
        return void_response(accept)


class MetricsHandlers:
    """Handler of the metrics.

    Args:
        metrics: the metrics.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def get(self) -> Response:
        """Return the metrics."""
        return Response(self._metrics.text(), self._metrics.media_type)
