"""The router: what clients of a cluster talk to. It places instances on shards and forwards requests to them."""
