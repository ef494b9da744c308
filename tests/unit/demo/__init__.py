"""The demo, but for what starts processes."""
