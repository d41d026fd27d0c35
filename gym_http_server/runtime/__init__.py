"""What sits beside the environment: library adapter, spaces, encoding. Knows no HTTP and nothing of the server."""
