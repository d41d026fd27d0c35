"""Other protocols for the same instances: thin faces over the contract's operations, for agents."""
