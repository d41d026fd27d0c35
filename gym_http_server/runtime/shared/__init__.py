"""Memory that the server shares with the process of an environment: use, counters of requests, receive buffer."""
