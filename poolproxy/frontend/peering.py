"""Who has connected to a Unix socket, and whether that is the user he says he is (manual 20.9: Peer
Authentication).

The kernel says who; the system's users say his name, as PostgreSQL asks them: where they are kept on another
machine, everybody waits for the answer. Must not know how a login goes on.
"""

from __future__ import annotations

import pwd

from poolproxy.auth.ident import Maps
from poolproxy.errors import PeerRefused
from poolproxy.log import get_logger, repeated
from poolproxy.transport.sockets import peer_uid

_log = get_logger()


def check_peer(descriptor: int, user: str, map_name: str, maps: Maps) -> None:
    """Raises where who has connected may not be this user, by the map or, without one, by his name."""
    uid = peer_uid(descriptor)
    name = _name_of(uid)
    if name is None or not maps.lets(map_name, name, user):
        repeated(
            _log, ("peer", uid), "peer may not be this user", level="info",
            user=user, system_user=name or "", uid=uid, map=map_name,
        )  # fmt: skip
        raise PeerRefused(user=user)


def _name_of(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
