"""Guests: environments that run in a Python other than the server's, or in one of its own that was not forked."""

from .registered import list_registered

__all__ = ["list_registered"]
