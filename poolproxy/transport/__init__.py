"""Sockets: the epoll that the thread sleeps in, and streams with bounded buffers on top of it.

`Poller.wait` serves every socket that is ready; each is read with one `recv` into one buffer that all streams
share, and written with one `send` straight from it. Nothing here knows a protocol message, a pool or asyncio:
the event loop gives the poller a descriptor to watch (`poolproxy/event_loop.py`).
"""
