"""The environments that can be made here, found out by short-lived processes that import third-party code."""
