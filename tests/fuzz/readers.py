"""Targets: functions of bytes to values. Each raises its own errors and no other, decides the same however
its bytes arrive, and gives back what its writer wrote."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from poolproxy.auth import hba
from poolproxy.errors import PoolproxyError, ProtocolViolation, UnexpectedServerAnswer
from poolproxy.http import BadRequest, parse_request, wants_openmetrics, weights
from poolproxy.protocol import messages as m
from poolproxy.protocol import notifications
from poolproxy.protocol.auth_methods import ALL, required_methods
from poolproxy.protocol.encodings import Inconvertible, convert
from poolproxy.protocol.framing import NOTHING, PARTIAL, Framer, stop_table
from poolproxy.protocol.proxy_header import V2_LONGEST, read_proxy_header
from poolproxy.protocol.scram import ScramSecret
from poolproxy.protocol.startup import StartupMessage, negotiation, read_first_packet
from poolproxy.session import assignments, channels, custom
from poolproxy.session.audit import read_audit
from poolproxy.session.durations import seconds_of
from poolproxy.session.last_values import hinted
from poolproxy.session.parameters import fragment_of, parameter_set, reported_set, split_identifiers
from poolproxy.session.prepared import names_of_ours, shape_of, with_names
from poolproxy.session.spelling import Spellings
from poolproxy.session.startup_options import merged_date_style, read_options, split_options
from poolproxy.session.startup_parameters import application_name, wanted_parameters
from poolproxy.session.statements import Finding, Scanner
from poolproxy.settings.url import parse_url
from poolproxy.settings.userlist import BrokenUserlist, read_userlist
from tests.fuzz.target import Broken, Target


def holds(condition: object, what: str) -> None:
    if not condition:
        raise Broken(what)


def text_of(data: bytes) -> str:
    """As the product decodes what clients send."""
    return data.decode("utf-8", "surrogateescape")


# Where messages begin and end.


def _walk(pieces: Iterable[bytes], stops: bytes) -> list[object]:
    """What stands at which place of a stream, and the error that ends it."""
    framer = Framer(stops)
    found: list[object] = []
    kept = b""
    consumed = 0
    try:
        for piece in pieces:
            buffer = bytearray(kept + piece)
            position = 0
            while True:
                before = position
                position = framer.scan(buffer, position, len(buffer))
                holds(before <= position <= len(buffer), "the walk left its bytes")
                if framer.kind in (NOTHING, PARTIAL):
                    break
                found.append((consumed + position, framer.kind, framer.size))
                position = framer.skip(position, len(buffer))
            kept = bytes(buffer[position:])
            consumed += position
            holds(len(kept) < 5, "bytes of a body were kept")
    except ProtocolViolation as error:
        found.append(error.message)
    return found


def framing(data: bytes) -> None:
    for stops in (stop_table(b""), stop_table(b"dDHS")):
        whole = _walk([data], stops)
        holds(
            whole == _walk([data[i : i + 1] for i in range(len(data))], stops),
            "bytes alone are read otherwise",
        )
        for size in (4, 5, 6):
            pieces = [data[i : i + size] for i in range(0, len(data), size)]
            holds(whole == _walk(pieces, stops), f"pieces of {size} bytes are read otherwise")


# Headers that arrive in pieces: what has been decided stays so, and nothing is decided too early.

Outcome = tuple[str, object] | None


def _outcome(read: Callable[[bytes], object], data: bytes) -> Outcome:
    try:
        found = read(data)
    except PoolproxyError as error:
        return type(error).__name__, error.message
    return None if found is None else ("value", repr(found))


def _in_pieces(read: Callable[[bytes], object], data: bytes, longest: int) -> Outcome:
    """The outcome for all of it, the same as for each longer beginning of it once there is one."""
    whole = _outcome(read, data)
    step = max(1, len(data) // 64)
    for cut in (*range(0, min(len(data), 64)), *range(64, len(data), step)):
        early = _outcome(read, data[:cut])
        holds(early in (None, whole), f"{early} after {cut} bytes, {whole} after all")
        holds(early is not None or cut < longest, f"no verdict after {cut} bytes")
    return whole


def startup(data: bytes) -> None:
    whole = _in_pieces(read_first_packet, data, 10_000)
    if whole is None or whole[0] != "value":
        return
    read = read_first_packet(data)
    assert read is not None
    packet, size = read
    holds(4 <= size <= len(data), "more bytes taken than there are")
    holds(_outcome(read_first_packet, data[:size]) == whole, "what stands behind the packet was read")
    if isinstance(packet, StartupMessage):
        negotiation(packet)
        again = read_first_packet(m.startup_message(packet.parameters, packet.minor))
        assert again is not None
        said = StartupMessage(packet.major, packet.minor, packet.parameters)
        holds(again[0] == said, "not what it was written from")


def proxy_header(data: bytes) -> None:
    whole = _in_pieces(read_proxy_header, data, V2_LONGEST)
    if whole is None or whole[0] != "value":
        return
    header = read_proxy_header(data)
    assert header is not None
    holds(0 < header.size <= min(len(data), V2_LONGEST), "more bytes taken than there are")
    holds(len(header.source) < 60 and header.source.isprintable(), "a source that is no address")
    if header.source:
        hba.Origin.of(header.source, encrypted=False)


# Messages: what is read says the same as what was written, to the byte.

_WRITTEN: dict[int, tuple[Callable[[bytes], object], Callable[..., bytes]]] = {
    0: (m.parameter_status_fields, m.parameter_status),
    1: (m.backend_key_fields, m.backend_key_data),
    2: (lambda body: (m.ready_status(body),), m.ready_for_query),
    3: (lambda body: (m.command_tag(body),), m.command_complete),
    4: (m.notification_fields, m.notification_response),
    5: (notifications.read_notification, notifications.notification),
    6: (
        lambda body: (m.sasl_mechanisms(body),),
        lambda names: m.authentication_sasl(names)[:5] + b"".join(map(m.cstring, names)) + b"\0",
    ),
    7: (m.negotiated_version, m.negotiate_protocol_version),
    8: (lambda body: (m.data_row_values(body),), m.data_row),
    9: (lambda body: (m.password_text(body),), m.password_message),
    10: (m.sasl_initial_fields, m.sasl_initial_response),
}


def messages(data: bytes) -> None:
    """The first byte says which reader."""
    body = data[1:]
    read, write = _WRITTEN[data[0] % len(_WRITTEN) if data else 0]
    try:
        fields = read(body)
    except (ProtocolViolation, UnexpectedServerAnswer):
        return
    assert isinstance(fields, tuple)
    holds(write(*fields)[5:] == body, f"{fields!r} is not what was written")


def reports(data: bytes) -> None:
    """ErrorResponse and NoticeResponse, which are always readable; and what we change in them."""
    fields = m.error_fields(data)
    holds(sum(map(len, fields.values())) <= len(data), "more than there was")
    names_of_ours(data)
    with_names(data, lambda name: b"client's")
    hinted(data, fields)
    known = custom.CustomNames()
    known.learn(["app.tenant"])
    known.forget_named(fields.get("M", ""))


def descriptions(data: bytes) -> None:
    """RowDescription."""
    with contextlib.suppress(UnexpectedServerAnswer):
        holds(len(shape_of(data)) <= len(data), "more than there was")


def audit(data: bytes) -> None:
    """Rows of an audit: columns between commas, rows between lines."""
    rows = [line.split(",") for line in text_of(data).split("\n")]
    told = dict(zip(data[::2].split(b","), data[1::2].split(b","), strict=False))
    with contextlib.suppress(UnexpectedServerAnswer):
        read_audit(rows, parameter_set({"app.a": "'x'"}), reported_set({}), reported_set(told))


# Texts of clients.


def _look(text: bytes, before: bytes, behind: bytes, cautious: bool) -> object:
    scanner = Scanner()
    scanner.cautious = cautious
    found = scanner.look(bytearray(before + text + behind), len(before), len(before) + len(text))
    return _meaning(found), scanner.controls


def _meaning(found: Finding | None) -> object:
    return None if found is None else (found.reason, found.assignments, repr(found))


def statements(data: bytes) -> None:
    for cautious in (False, True):
        alone = _look(data, b"", b"", cautious)
        among = _look(data, b"set a=1;'", b"'; set a=1; listen x", cautious)
        holds(alone == among, "what stands around a text was read")
    assignments.read_assignment(data)
    assignments.read_deallocation(data)
    assignments.is_discard_all(data)
    assignments.is_local(data)
    assignments.resets_role(data)
    custom.custom_names(data)
    custom.bound_names(data)
    for name in channels.listened(data):
        spelled = channels.channel(channels.decoded(name, "UTF8"))
        if spelled is not None:
            channels.quoted(spelled, "LATIN1")


def values(data: bytes) -> None:
    """Values of settings, as startup messages, SQL and SHOW have them."""
    text = text_of(data)
    spellings = Spellings()
    for name in ("search_path", "work_mem", "idle_session_timeout", "datestyle"):
        for escape in (False, True):
            fragment = fragment_of(name, text, escape)
            spellings.fragment(name, fragment)
        seconds_of(fragment)
    split_identifiers(text)
    first, _, second = text.partition("\n")
    merged_date_style(first, second)
    holds(len(application_name(text)) < 64, "a longer name than PostgreSQL's")


def options(data: bytes) -> None:
    text = text_of(data)
    split_options(text)
    for read in (
        read_options,
        lambda text: wanted_parameters({"user": "a", "options": text, text[:9]: text[9:]}),
    ):
        try:
            read(text)
        except PoolproxyError as error:
            holds(error.sqlstate.startswith(("42", "0A", "22")), repr(error))


def encodings(data: bytes) -> None:
    """The first line names two encodings."""
    head, _, text = data.partition(b"\n")
    source, _, target = head.decode("latin-1").partition(" ")
    with contextlib.suppress(Inconvertible):
        holds(len(convert(text, source, target)) <= 8 * len(text), "more than characters")


def notified(data: bytes) -> None:
    """The names of channels, back to where they came from."""
    for encoding in ("UTF8", "LATIN1", "SQL_ASCII"):
        name = channels.decoded(data, encoding)
        if "\0" not in name:
            channels.listen_query([name], encoding)
            channels.lend_texts([name], encoding)


# Files, urls, HTTP.


def _included(name: str, file: str) -> tuple[str, str]:
    if name == "more":
        return name, "host all all all trust\n"
    raise FileNotFoundError(2, "no such file", name)


def _listed(name: str, file: str) -> list[str]:
    return ["more", "lost"] if name == "dir" else ["more"]


def rules(data: bytes) -> None:
    try:
        found = hba.parse("hba", text_of(data), _included, listing=_listed)
    except hba.InvalidRules as error:
        holds(
            error.problems and all(len(p.splitlines()) < 3 for p in error.problems), "problems without a word"
        )
        return
    for peer in ("unix", "10.0.0.1:5", "[::ffff:10.0.0.1]:5", "[fe80::1]:5"):
        found.find(hba.Origin.of(peer, encrypted=False), "app", "app")


def userlist(data: bytes) -> None:
    text = text_of(data)
    try:
        users = read_userlist(text)
    except BrokenUserlist as error:
        holds(str(error).startswith("line ") and len(str(error)) < 60, "it repeats what may be a password")
        return
    holds(all(users.values()) and all(users), "an empty name or password")
    again = "".join(
        '"{}" "{}"\n'.format(*(part.replace('"', '""') for part in pair)) for pair in users.items()
    )
    holds(
        "\n" in "".join([*users, *users.values()]) or read_userlist(again) == users,
        "not what it was written from",
    )


def urls(data: bytes) -> None:
    text = text_of(data)
    try:
        url = parse_url(text)
    except ValueError as error:
        holds(len(str(error)) < 300, "a long message")
        return
    holds(url.host and 0 < url.port < 65536, "no host or port")
    holds(
        url.password is None
        or len(url.password) < 4
        or url.password in (url.host, url.user, url.dbname)
        or f"password={url.password!r}" not in repr(url),
        "a password in a repr",
    )


def require_auth(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        holds(required_methods(text_of(data)) <= ALL, "methods that are none")


def secrets(data: bytes) -> None:
    text = text_of(data)
    try:
        secret = ScramSecret.parse(text)
    except ValueError as error:
        holds(str(error) == "not a SCRAM-SHA-256 secret", "it repeats what may be a password")
        return
    holds(ScramSecret.parse(secret.format()) == secret, "not what it was written from")


def http(data: bytes) -> None:
    try:
        request = parse_request(data)
    except BadRequest:
        return
    holds(request.method in ("GET", "HEAD"), "a method that is not served")
    weights(request.headers.get("accept-encoding", ""))
    wants_openmetrics(request.headers.get("accept", ""))


_HBA = (
    b"local",
    b"host",
    b"hostssl",
    b"hostnossl",
    b"all",
    b"sameuser",
    b"replication",
    b"@more",
    b"include more",
    b"include_dir dir",
    b"\\\n",
    b"scram-sha-256",
    b"trust",
    b"reject",
    b"10.0.0.0/8",
    b"::1/128",
    b"255.0.0.0",
    b'"',
    b",",
    b"/^a",
    b"+",
    b"#",
)
_SQL = (
    b"set ",
    b"reset all",
    b"discard all",
    b"listen x",
    b"unlisten *",
    b"deallocate ",
    b"prepare ",
    b"set_config(",
    b"$$",
    b"$a$",
    b"/*",
    b"*/",
    b"--",
    b"E'\\'",
    b'U&"',
    b"'",
    b'"',
    b";",
    b"app.x",
    b"begin",
    b"local",
    b"to",
)

TARGETS = (
    Target("framing", framing, (b"D\0\0\0\4", b"d\0\0\0\5x", b"Z\0\0\0\5I", b"S\x3f\xff\xff\xff")),
    Target(
        "startup",
        startup,
        (b"\0\3\0\0", b"user\0", b"_pq_.", b"database\0", b"options\0", b"\x04\xd2\x16\x2f"),
    ),
    Target(
        "proxy_header",
        proxy_header,
        (b"PROXY TCP4 ", b"TCP6", b"UNKNOWN", b"\r\n", b"\r\n\r\n\0\r\nQUIT\n", b"%"),
    ),
    Target("messages", messages, (b"SCRAM-SHA-256\0",)),
    Target("reports", reports, (b"\0C", b"\0M", b'"_poolproxy_1"', b"Rlastval", b"\0\0")),
    Target("descriptions", descriptions),
    Target(
        "audit",
        audit,
        (b"left,", b"prepared,", b"ours,,", b"role,none,app", b"setting,", b"superuser,", b"\n"),
    ),
    Target("statements", statements, _SQL),
    Target(
        "values",
        values,
        (b"infinity", b"1min", b"0x10", b"1e400", b"'", b'"', b",", b"german", b"99999999999"),
    ),
    Target(
        "options",
        options,
        (b"-c ", b"--", b"-d", b"-f ", b"-t pa", b"\\", b"\\ ", b"=", b"search_path=", b"-"),
    ),
    Target(
        "encodings",
        encodings,
        (b"UTF8 ", b"LATIN1", b"SJIS", b"EUC_JIS_2004", b"GB18030", b"SQL_ASCII", b"\n"),
    ),
    Target("notified", notified),
    Target("rules", rules, _HBA),
    Target("userlist", userlist, (b'"', b'""', b" ", b"\n", b";")),
    Target(
        "urls", urls, (b"postgres://", b"@", b":", b"/", b"?", b"&", b"%", b"[::1]", b"sslmode=", b"port=")
    ),
    Target(
        "require_auth", require_auth, (b"!", b",", b"password", b"md5", b"scram-sha-256", b"none", b"gss")
    ),
    Target("secrets", secrets, (b"SCRAM-SHA-256$", b"4096:", b"$", b":", b"=")),
    Target(
        "http",
        http,
        (b"GET /metrics", b"HTTP/1.1", b"\r\n", b"accept: ", b"q=", b"name[]=", b"http://[", b";"),
    ),
)
