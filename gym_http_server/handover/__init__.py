"""Connection hand-over: a client's connection moves to the process of the environment that it uses.

`gateway.py` is the server's side, `owner.py` and `owned_protocol.py` are the side of an environment's process.
"""
