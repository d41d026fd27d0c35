"""Subcommands that work with recordings, as a client of a server."""
