"""The HTTP side: the handlers behind the contract, and all that makes a request fit for them or a problem of it."""
