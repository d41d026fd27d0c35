"""General-purpose tools, independent of the rest of the project."""
