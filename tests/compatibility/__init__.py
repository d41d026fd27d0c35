"""The packages of environments that the server was tried with: `python -m tests.compatibility`."""
