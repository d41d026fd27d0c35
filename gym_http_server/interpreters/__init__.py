"""Interpreters: the Pythons besides the server's that environments run in, by name. No HTTP."""
