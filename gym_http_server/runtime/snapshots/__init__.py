"""Snapshots: the state of an environment saved and put back."""
