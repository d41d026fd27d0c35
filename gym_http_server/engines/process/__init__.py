"""The `process` engine: a process for each environment, forked from one that has the libraries loaded."""
