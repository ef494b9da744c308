"""Tests that need what `make deps` installs."""
