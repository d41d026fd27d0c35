"""The `process` engine: a process for each environment, its channel, its time-outs and its end."""
