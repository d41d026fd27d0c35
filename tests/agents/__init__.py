"""Tests of the other protocols."""
