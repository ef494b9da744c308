"""Tests of poolproxy.backend."""
