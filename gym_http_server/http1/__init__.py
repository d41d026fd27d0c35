"""HTTP/1.1 connections: listening sockets, the extended uvicorn protocol, and its configuration."""
