"""The scenarios by name. Each says what happens, and what must hold."""
