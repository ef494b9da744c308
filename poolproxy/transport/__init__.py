"""Sockets: a second epoll nested in the event loop, and streams with bounded buffers on top of it.

One call of `Poller.drain` per wake-up serves every ready socket; each is read with one `recv` into one buffer
that all streams share, and written with one `send` straight from it. Nothing here knows a protocol message, a
pool or asyncio: what must run outside is scheduled through a callable that the poller is given.
"""
