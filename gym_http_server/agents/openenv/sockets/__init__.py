"""WebSockets of OpenEnv: their sessions at the server and in an environment's process, and which shard takes one."""
