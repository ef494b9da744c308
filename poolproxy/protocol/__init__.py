"""The PostgreSQL wire protocol as values: bytes in, values out, and back. No I/O, no clock, no policy.

A session begins with one packet that has no type letter. `startup` reads it: a StartupMessage, a request for
encryption, or a CancelRequest. Everything after it is a message: one type letter, a four-byte length that
counts itself, a body. `framing` (compiled) walks those headers in whatever pieces the network delivers and
says where each body lies; it is the only module here on the way of every byte. `messages` builds the messages
that we originate and reads the few that we must look into; it is given bodies, never headers. `codes` has
every letter and number, with its name in the manual. `scram` and `md5` are the two password exchanges, each
from both ends: we are the server to our clients and a client to PostgreSQL.

Rules that hold for all of it:

- Whatever comes from a peer is hostile until it is checked. A length is compared with its bounds before
  anything is computed from it, and no memory is taken because a length claims it.
- A client's fault raises errors.ProtocolViolation, a server's raises errors.UnexpectedServerAnswer; nothing
  else escapes a reader.
- A string that goes out cannot hold a zero byte: it would end the field early and start another one.
- Names and values are decoded as UTF-8 with `surrogateescape`: bytes that are not UTF-8 survive the round
  trip.
- Secrets, proofs and keys are compared with hmac.compare_digest only, and are left out of every repr.
"""
