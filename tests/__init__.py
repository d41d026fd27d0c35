"""The tests: each is a sentence about what a user or a client sees."""
