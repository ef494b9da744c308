"""Tests of poolproxy.pool."""
