"""Who may send a request: keys, origins, hosts, proxies."""
