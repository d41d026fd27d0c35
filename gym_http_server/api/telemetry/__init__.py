"""What is told of requests: access log, counters, metrics."""
