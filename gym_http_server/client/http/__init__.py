"""HTTP exchanges of the client: connection, request, reply, problem details."""
