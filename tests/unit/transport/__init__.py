"""Tests of poolproxy.transport: real sockets, driven by `Poller.drain` alone."""
