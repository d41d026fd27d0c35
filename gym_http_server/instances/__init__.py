"""Live instances: the directory, one instance, its metadata, and the closing of idle ones."""
