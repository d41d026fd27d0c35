"""The content of requests and replies: bodies, media types, compression, limits on values, paths."""
