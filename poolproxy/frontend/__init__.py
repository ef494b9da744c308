"""Client connections: logging in, forwarding what they ask, cancel requests.

The only floor that knows both sides. A client borrows a server from its pool and is that server's sink.
"""
