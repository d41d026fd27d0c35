"""The engine `ray`: instances on the shards of a Ray cluster. No HTTP.

    router                               Ray's head                            a node
    shards.py    RayShards        JSON   driver.py    its own process   Ray    directory.py        Ray    shard.py
                 what is known  ◀──────▶ connected to Ray             ◀──────▶ which shards live ◀──────▶ an ordinary server

- **Shard**: a Ray actor, whose process runs an ordinary server in a thread. The process of the actor is the server's, so that
  whatever ends it (Ray, its node, the system) ends the fork server's socket and with that every environment's process. A server
  in a process of its own would take 60 MB more, and outlive an actor that was killed.
- **Directory**: a detached actor on Ray's head, one in a cluster. It gives the shards their prefixes and the cluster's key, starts
  and ends them, and knows why one is gone. Routers ask it once a second; that is how it knows of them.
- **Driver**: a process beside each router that is connected to Ray. Ray ends a process whose cluster has ended, has threads and
  signal handlers, and takes 90 MB and a second to import.

Shards and directory are detached: they survive the router that started them. A router that stops ends them if no other is left,
unless it has `--router-only`; after one that died they end by themselves when they have had neither router nor instance for
`--shard-idle`. A local Ray ends with its router.
"""
