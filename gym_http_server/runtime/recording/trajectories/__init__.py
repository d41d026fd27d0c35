"""Trajectories beside an environment: what its episodes consist of, kept, packed and appended to a file."""
