"""The command `gym-http-server` as a router of fixed shards: `ROUTED_SHARDS` has their prefixes, URLs and room, `ROUTED_KEY` their key."""

from __future__ import annotations

import json
import os

from gym_http_server import server
from gym_http_server.cli import main
from gym_http_server.router.shards import Shard, StaticShards

if __name__ == "__main__":
    listed = [
        Shard(prefix, url, "node-" + prefix, 0, room) for prefix, url, room in json.loads(os.environ["ROUTED_SHARDS"])
    ]
    server.shards_of = lambda _settings: StaticShards(listed, os.environ["ROUTED_KEY"])
    main()
