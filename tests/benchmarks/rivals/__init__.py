"""Servers and clients of other projects. Each needs its package, which the Python of `--rival-python` has."""
