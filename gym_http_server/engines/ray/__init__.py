"""The engine `ray`: instances on the shards of a Ray cluster. No HTTP.

    router                     beside it           Ray's head               a node
    shards.py           JSON   driver.py    Ray    directory.py      Ray    shard.py
    what is known      ◀─────▶ connected   ◀─────▶ which shards     ◀─────▶ an ordinary
    of the cluster             to Ray              there are                server

- **Shard**: a Ray actor, whose process runs an ordinary server in a thread. The process of the actor is the server's, so that
  whatever ends it (Ray, its node, the system) ends the fork server's socket and with that every environment's process. A server
  in a process of its own would take a Ray worker's 74 MB more, and outlive an actor that was killed.
- **Directory**: a detached actor on Ray's head, one in a cluster. It gives the shards their prefixes and the cluster's key, starts
  and ends them, and knows why one is gone (`fleet.py`). Routers ask it once a second; that is how it knows of them.
- **Driver**: a process beside each router that is connected to Ray. Ray ends a process whose cluster has ended, and has threads and
  signal handlers of its own.

Shards and directory are detached: they survive the router that started them. A router that stops ends them if no other is left,
unless it has `--router-only`; after one that died they end by themselves when they have had neither router nor instance for
`--shard-idle`. A local Ray ends with its router.
"""
