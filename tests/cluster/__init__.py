"""Clusters of several Ray nodes on this machine."""
