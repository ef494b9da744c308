"""Tests of poolproxy.session: pure decisions over bytes and values."""
