"""MCP: environments as tools of language models, over Streamable HTTP and stdio.

Only `server.py` and `streamable_http.py` import the SDK.
"""
