"""The HTTP API: from ASGI requests to handlers, and from results and errors to responses."""
