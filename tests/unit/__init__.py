"""Unit tests: they mirror the package, and need neither a server nor a network."""
