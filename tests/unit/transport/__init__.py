"""Tests of poolproxy.transport: real sockets, driven by `Poller.wait` alone."""
