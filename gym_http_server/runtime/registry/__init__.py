"""Which environments can be made."""
