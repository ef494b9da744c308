"""Pools and queues: who gets which server, how many there may be, what has grown too old. Decisions only.

Generic in the connections: a client and a server are whatever has the attributes of `Member` and `Waiter`.
Time is an argument. What should be done is returned or asked for through the callables given; nothing here
does I/O.
"""
