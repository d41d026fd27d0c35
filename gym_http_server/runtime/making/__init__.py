"""Making environments: ids, libraries, wrappers, vectors."""
