"""What clients of MCP and OpenEnv talk to at a router: their sessions are on shards, and so is all that they mean."""
