"""Access log, request counters, and Prometheus metrics."""
