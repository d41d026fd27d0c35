"""Spaces and values: from JSON or MessagePack to NumPy and back."""
