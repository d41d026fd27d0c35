"""MCP: environments as tools of language models, over Streamable HTTP and stdio. Only `server.py` and `http.py` import the SDK."""
