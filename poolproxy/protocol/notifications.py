"""NotificationResponse (manual 54.7): read and written."""

from __future__ import annotations

import struct

from poolproxy.errors import UnexpectedServerAnswer
from poolproxy.protocol import codes
from poolproxy.protocol.messages import message

_PID = struct.Struct("!i")


def read_notification(body: bytes) -> tuple[int, bytes, bytes]:
    """Who notified (a pid), the channel's name, the payload. Raises UnexpectedServerAnswer."""
    parts = body[4:].split(b"\0")
    if len(body) < 4 or len(parts) != 3 or parts[2]:
        raise UnexpectedServerAnswer(what="malformed NotificationResponse")
    return _PID.unpack_from(body)[0], parts[0], parts[1]


def notification(pid: int, name: bytes, payload: bytes) -> bytes:
    """A whole message."""
    return message(codes.NOTIFICATION_RESPONSE, _PID.pack(pid) + name + b"\0" + payload + b"\0")
