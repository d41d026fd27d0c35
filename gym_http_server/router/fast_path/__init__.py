"""The fast path: requests of a training loop pass between two connections as bytes, without ASGI.

A client's connection has a connection to the shard for each instance that it uses, so that the shard can hand that over to the
environment's process. A head is parsed once and then recognised by its bytes; bodies are never looked into. Whatever is not plain
goes to the application, which serves everything.
"""
