"""Servers to compare with: the floors, the original's style, and ours without its hot path."""
