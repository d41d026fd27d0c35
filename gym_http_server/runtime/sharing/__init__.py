"""An instance between several: what viewers are told of it."""
