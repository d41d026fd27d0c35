"""The suite: a module for each group of checks, a test for each thing that the contract says."""
