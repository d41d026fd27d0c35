"""An instance between several: what viewers are told of it, who may step it, which keys and actions it has."""
