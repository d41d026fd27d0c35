"""Saves the state of an environment, and restores it in place."""
