"""The demonstration: a real PostgreSQL, the proxy in front of it, and a storm of clients."""
