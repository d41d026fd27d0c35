"""Memory that the server shares with the process of an environment: use, counters of requests, room for connections."""
