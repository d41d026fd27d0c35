"""Makes environments: resolves ids, calls the libraries, adds wrappers, makes batches."""
