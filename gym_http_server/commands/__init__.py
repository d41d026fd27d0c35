"""Subcommands that are clients of a server: they work with recordings, or speak another protocol."""
