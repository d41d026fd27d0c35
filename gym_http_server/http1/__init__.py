"""HTTP/1.1 connections: the sockets, uvicorn's protocol as it is extended here, and its configuration."""
