"""Recorded trajectories as datasets of other formats, and repeated to see whether they are true."""
