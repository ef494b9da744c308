"""Login dialogues: who a client is, and who we are to PostgreSQL. No I/O, no clock, no thread.

Whoever drives a login owns the socket, the deadline and the thread pool, so the same one runs on the data
plane, on asyncio and, in a test, on two lists of bytes.

- `client_login`: a client proves itself to us. No key stretching is done here: it works from stored secrets.
  It is asked message by message; what can be done while the client is at work is done `ahead`.
- `server_login`: we prove ourselves to PostgreSQL, from the startup message to the first ReadyForQuery, and
  it proves itself to us. A generator that yields what it needs (see `dialogue`). The stretching is offloaded,
  and its result kept in a `ScramKeyCache`.
- `credentials`: the secrets of the users that we serve, and a mock for every other name.

The promise that shapes it: a stranger cannot tell an unknown user from a wrong password. Both get the same
messages, a salt that stays the same for that name, the same number of iterations and the same work.
"""
