"""Tests of poolproxy.frontend, module by module."""
