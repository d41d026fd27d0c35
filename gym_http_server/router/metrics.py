"""The metrics of a cluster: those of all shards, each with the label `shard`, and those of the router.

They are merged as text: each family stands once, with its HELP and TYPE, and no sample is parsed further than its name.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

from prometheus_client import CONTENT_TYPE_LATEST, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client.core import Metric

    from .shards import Shards

_SAMPLE: Final = re.compile(rb"([A-Za-z_:][\w:]*)(?:\{(.*)\})?( \S+.*)")

ROUTER: Final = "router"
"""The value of the label `shard` of the router's own process."""


async def merged_metrics(texts: Mapping[str, bytes], shards: Shards) -> tuple[bytes, str]:
    """Return the metrics of a cluster and their media type.

    Args:
        texts: the metrics of each shard, by prefix.
        shards: the shards.
    """
    # It lists the open descriptors.
    process = await asyncio.to_thread(
        lambda: generate_latest(_Collected(tuple(ProcessCollector(registry=None).collect())))
    )
    families: dict[bytes, list[bytes]] = {}
    for prefix, text in {**texts, ROUTER: process}.items():
        _add(families, prefix.encode(), text)
        await asyncio.sleep(0)
    lines = [line for family in families.values() for line in family]
    return b"\n".join(lines) + b"\n" + generate_latest(_Collected(_of_cluster(shards))), CONTENT_TYPE_LATEST


def _add(families: dict[bytes, list[bytes]], prefix: bytes, text: bytes) -> None:
    """Add the lines of one text to their families."""
    known = set(families)
    family: list[bytes] = []
    is_known = False
    for line in text.splitlines():
        if line.startswith((b"# HELP ", b"# TYPE ")):
            name = line.split(b" ", 3)[2]
            is_known = name in known
            family = families.setdefault(name, [])
            if not is_known:
                family.append(line)
        elif (match := _SAMPLE.fullmatch(line)) is not None:
            labels = b'shard="%b"' % prefix + (b"," + match[2] if match[2] else b"")
            family.append(b"%b{%b}%b" % (match[1], labels, match[3]))


def _of_cluster(shards: Shards) -> tuple[Metric, ...]:
    status = shards.status()
    nodes = GaugeMetricFamily("gym_http_server_nodes", "Nodes of the cluster that are alive.")
    nodes.add_metric([], sum(node.is_alive for node in status.nodes))
    room = GaugeMetricFamily(
        "gym_http_server_shard_room", "Maximum number of instances of each live shard.", labels=["shard", "node"]
    )
    for shard in shards.shards():
        room.add_metric([shard.prefix, shard.node], shard.room)
    lost = GaugeMetricFamily("gym_http_server_shards_lost", "Shards that are lost.")
    lost.add_metric([], len(status.losses))
    pending = GaugeMetricFamily("gym_http_server_shards_pending", "Shards that wait for a node with room.")
    pending.add_metric([], status.pending)
    return nodes, room, lost, pending


class _Collected(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        return self._metrics
