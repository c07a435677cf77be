"""The HTTP server: listeners, admission, connections, streams and request bodies."""
