"""The metrics in Prometheus' text format, computed on each scrape from a census of the instances.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

from __future__ import annotations

import asyncio
import itertools
import platform
from typing import TYPE_CHECKING, Final

from prometheus_client import CONTENT_TYPE_LATEST, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from ... import __version__
from ...runtime.shared.traffic import BOUNDS, tallies

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.core import Metric

    from ...instances.census import Census
    from ...instances.directory import Instances

PREFIX: Final = "gym_http_server_"

STATES: Final = ("ready", "busy", "lost")
"""The states of live instances."""

_BOUNDS: Final = (*(f"{bound:g}" for bound in BOUNDS), "+Inf")


class Metrics:
    """The metrics of one server. Nothing is global, because a process may run several servers.

    Args:
        instances: the live instances.

    Attributes:
        media_type: media type of the text.
    """

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, instances: Instances) -> None:
        self._instances = instances
        # Yields nothing on systems without /proc.
        self._process = ProcessCollector(registry=None)

    async def text(self) -> bytes:
        """Return the current metrics; between two of them others are served."""
        server = _OfInstances(self._instances.engine.name, await self._instances.census())
        # It lists the open descriptors: 5 ms beside 1,000 instances.
        process = await asyncio.to_thread(lambda: tuple(self._process.collect()))
        texts = []
        for metric in itertools.chain(server.collect(), process):
            texts.append(generate_latest(_One(metric)))
            await asyncio.sleep(0)
        return b"".join(texts)


class _One(Collector):
    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        """Yield the metric."""
        yield self._metric


class _OfInstances(Collector):
    def __init__(self, engine: str, census: Census) -> None:
        self._engine = engine
        self._census = census

    def collect(self) -> Iterable[Metric]:
        """Yield every metric."""
        yield self._build()
        yield from self._requests()
        yield from self._of_instances()

    def _build(self) -> Metric:
        facts = {"version": __version__, "engine": self._engine, "python": platform.python_version()}
        return InfoMetricFamily(f"{PREFIX}build", "What serves.", value=facts)

    def _requests(self) -> Iterable[Metric]:
        labels = ["operation"]
        answered = CounterMetricFamily(
            f"{PREFIX}requests",
            "Requests answered, by operationId and status; operation none: before the operation was known.",
            labels=[*labels, "status"],
        )
        seconds = HistogramMetricFamily(
            f"{PREFIX}request_seconds",
            "Time from a request's last byte read to its reply's first byte written, in seconds.",
            labels=labels,
        )
        received = CounterMetricFamily(f"{PREFIX}received_bytes", "Length of requests' bodies.", labels=labels)
        sent = CounterMetricFamily(f"{PREFIX}sent_bytes", "Length of replies' bodies, not compressed.", labels=labels)
        for tally in tallies([self._census.totals.traffic]):
            name = [tally.operation]
            for status, count in tally.statuses.items():
                answered.add_metric([*name, status], count)
            buckets = list(zip(_BOUNDS, map(float, itertools.accumulate(tally.buckets)), strict=True))
            seconds.add_metric(name, buckets, tally.seconds)
            received.add_metric(name, tally.received)
            sent.add_metric(name, tally.sent)
        yield from (answered, seconds, received, sent)

    def _of_instances(self) -> Iterable[Metric]:
        totals, states = self._census.totals, self._census.states
        gauge = GaugeMetricFamily(f"{PREFIX}instances", "Live instances, by state.", labels=["state"])
        for state in STATES:
            gauge.add_metric([state], states[state])
        yield gauge
        yield GaugeMetricFamily(f"{PREFIX}open_websockets", "Open WebSockets.", value=totals.open_websockets)
        for name, text, value in (
            ("instances_created", "Instances made.", totals.created),
            ("instances_closed", "Instances closed, by whomever, lost ones included.", totals.closed),
            ("instances_lost", "Instances that died or were killed.", totals.lost),
            ("instances_reaped", "Instances closed because nobody used them for --idle-timeout.", totals.reaped),
            ("instances_expired", "Instances closed because their lease had run out.", totals.expired),
            ("steps", "Environment steps.", totals.steps),
            ("episodes", "Episodes that have ended.", totals.episodes),
            ("websockets", "WebSockets opened.", totals.websockets),
            ("websocket_messages", "Messages received on WebSockets.", totals.websocket_messages),
        ):
            yield CounterMetricFamily(f"{PREFIX}{name}", text, value=value)
