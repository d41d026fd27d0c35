"""The metrics of several shards, merged as text."""

from __future__ import annotations

from gym_http_server.router.metrics import merged_metrics
from gym_http_server.router.shards import Shard, StaticShards

ONE = b"""# HELP steps_total Environment steps.
# TYPE steps_total counter
steps_total 3.0
# HELP instances Live instances, by state.
# TYPE instances gauge
instances{state="rea}dy"} 1.0
"""


async def test_each_family_stands_once() -> None:
    """Its samples are together, each with its shard; a brace in a label is no end of the labels."""
    shards = StaticShards([Shard("001", "http://127.0.0.1:1", "a", 2, 4)], "")
    text, media_type = await merged_metrics({"001": ONE, "002": ONE}, shards)
    lines = text.decode().splitlines()
    assert media_type.startswith("text/plain")
    at = lines.index("# TYPE steps_total counter")
    assert lines[at + 1 : at + 3] == ['steps_total{shard="001"} 3.0', 'steps_total{shard="002"} 3.0']
    assert 'instances{shard="002",state="rea}dy"} 1.0' in lines
    assert lines.count("# HELP steps_total Environment steps.") == 1
    assert 'gym_http_server_shard_room{node="a",shard="001"} 4.0' in lines
