"""The manual: Markdown files, and the pages of the console that show and search them."""

from .pages import manual

__all__ = ["manual"]
