"""The whole state of an environment: found by a walk through all that it holds, saved, and put back in its place."""
