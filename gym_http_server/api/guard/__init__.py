"""Access control of requests: key, Host, Origin, trusted proxies."""
