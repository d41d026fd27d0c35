"""The suite: a test module for each group of checks, and what only these modules use."""
