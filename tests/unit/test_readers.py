"""Every reader of foreign bytes, with any bytes: a value or an error of its own, whatever comes.

The readers and what they promise are the targets of the fuzzer (`tests/fuzz`): that they decide the same
however their bytes arrive, read nothing behind a claimed length, give back what their writer wrote, and
take no more work or memory than so many bytes may cost.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import poolproxy
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

#: Whole dialogues take milliseconds each; the fuzzer's quick form has them.
PURE = {name: target for name, target in TARGETS.items() if not name.startswith(("hostile", "server"))}

#: Parts of the two sessions, which the hostile targets hold as a whole; and what gives asyncpg its bytes, for
#: tests/integration/test_hostile_servers.py.
WITHIN = {
    "backend/discarding.py",
    "backend/link.py",
    "backend/parsing.py",
    "frontend/client_session.py",
    "frontend/connection.py",
    "frontend/discarding.py",
    "frontend/hearing.py",
    "frontend/preparing.py",
}

#: Where foreign bytes become values: each module, and the target that reads with it.
READERS = {
    "protocol/framing.py": "framing",
    "protocol/startup.py": "startup",
    "protocol/proxy_header.py": "proxy_header",
    "protocol/messages.py": "messages",
    "protocol/notifications.py": "messages",
    "protocol/encodings.py": "encodings",
    "protocol/auth_methods.py": "require_auth",
    "protocol/scram.py": "scram_server",
    "session/statements.py": "statements",
    "session/assignments.py": "statements",
    "session/custom.py": "statements",
    "session/channels.py": "notified",
    "session/durations.py": "values",
    "session/spelling.py": "values",
    "session/parameters.py": "values",
    "session/startup_options.py": "options",
    "session/startup_parameters.py": "options",
    "session/audit.py": "audit",
    "session/prepared.py": "descriptions",
    "session/last_values.py": "reports",
    "auth/client_login.py": "login",
    "auth/server_login.py": "server",
    "auth/hba.py": "rules",
    "auth/rule_files.py": "rules",
    "settings/userlist.py": "userlist",
    "settings/url.py": "urls",
    "frontend/login.py": "login",
    "frontend/client.py": "hostile_client",
    "backend/connecting.py": "server",
    "backend/server.py": "hostile_server",
    "http.py": "http",
}


def built_of(target: Target) -> st.SearchStrategy[bytes]:
    """Any bytes; or pieces of what real ones are made of, and a few of any kind between them."""
    known = [*target.tokens, *target.corpus().values()] or [b"\0"]
    piece = st.sampled_from(known) | st.binary(max_size=6) | st.sampled_from([b"\0", b"\xff", b"\0\0\0\4"])
    return st.binary(max_size=200) | st.lists(piece, max_size=8).map(b"".join)


@pytest.mark.parametrize("target", PURE.values(), ids=list(PURE))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_bytes(target: Target, data: st.DataObject) -> None:
    target.run(data.draw(built_of(target)))


@pytest.mark.parametrize("target", PURE.values(), ids=list(PURE))
@settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_work_and_memory_follow_the_length(target: Target, data: st.DataObject) -> None:
    """Of some thousands of bytes: what is repeated costs as often as it is there, and no more."""
    piece = data.draw(st.sampled_from([*target.tokens, b"\0", b"a", b'"', b"\\"]))
    head = data.draw(st.sampled_from([b"", *target.corpus().values()]))
    target.measured(head + piece * (4000 // len(piece)))


def test_every_reader_has_a_target() -> None:
    folder = Path(poolproxy.__file__).parent
    assert set(READERS.values()) <= set(TARGETS)
    assert all((folder / name).exists() for name in READERS)
    # Who takes what the wire says apart imports one of these, or looks at bytes by their names.
    signs = re.compile(r"unpack_from|string_end|\.split\(b\"|\.scan\(|[a-z]_fields\(")
    apart = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if signs.search(path.read_text("utf-8")) and "demo" not in path.parts
    }
    assert apart <= set(READERS) | WITHIN, apart - set(READERS) - WITHIN
