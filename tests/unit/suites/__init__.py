"""The harness for the drivers' own test suites: what it makes of their outcomes."""
