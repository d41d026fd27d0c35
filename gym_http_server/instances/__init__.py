"""The live instances: the directory, one instance, its idle time, and what was counted."""
