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
    """The handlers.

    Args:
        instances: the live instances.
        shut_down: has the server stop, after the reply under way.
    """

    def __init__(self, instances: Instances, shut_down: Callable[[], None]) -> None:
        self._instances = instances
        self._shut_down = shut_down

    async def health(self) -> Response:
        """Answer that the server is up."""
        engine = self._instances.engine.name
        return json_response(
            {"status": "ok", "version": __version__, "engine": engine, "instances": len(self._instances.all())}
        )

    async def shutdown(self, accept: str | None = None) -> Response:
        """Answer, and have the server stop."""
        self._shut_down()
        return void_response(accept)


class MetricsHandlers:
    """The handler of what the server counts.

    Args:
        metrics: what it counts.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def get(self) -> Response:
        """Answer what the server counts."""
        return Response(self._metrics.text(), self._metrics.media_type)
