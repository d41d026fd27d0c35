"""The README and the manual: what in them is generated, and their commands, run as they stand."""
