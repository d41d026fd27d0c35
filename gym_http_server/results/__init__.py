"""Training directories: reading them, evaluating them, and keeping evaluations in an upload target."""
