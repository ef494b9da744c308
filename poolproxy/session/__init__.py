"""What a connection knows, without I/O: life cycles, expected answers, parameters, and what a statement may
change.

Pure decisions over bytes and values. Nothing here knows a socket, a pool or the clock.
"""
