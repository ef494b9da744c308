"""Letters and numbers of the protocol (manual: Frontend/Backend Protocol, Message Formats). Letters live only
here."""

from __future__ import annotations

from typing import Final

# Frontend message types (client to server).
QUERY: Final = 0x51  # Q  Query
PARSE: Final = 0x50  # P  Parse
BIND: Final = 0x42  # B  Bind
DESCRIBE: Final = 0x44  # D  Describe
EXECUTE: Final = 0x45  # E  Execute
CLOSE: Final = 0x43  # C  Close
SYNC: Final = 0x53  # S  Sync
FLUSH: Final = 0x48  # H  Flush
FUNCTION_CALL: Final = 0x46  # F  FunctionCall
COPY_DATA: Final = 0x64  # d  CopyData (both directions)
COPY_DONE: Final = 0x63  # c  CopyDone (both directions)
COPY_FAIL: Final = 0x66  # f  CopyFail
TERMINATE: Final = 0x58  # X  Terminate
PASSWORD: Final = 0x70  # p  PasswordMessage, SASLInitialResponse, SASLResponse

# Backend message types (server to client).
AUTHENTICATION: Final = 0x52  # R
BACKEND_KEY_DATA: Final = 0x4B  # K
PARAMETER_STATUS: Final = 0x53  # S
READY_FOR_QUERY: Final = 0x5A  # Z
ERROR_RESPONSE: Final = 0x45  # E
NOTICE_RESPONSE: Final = 0x4E  # N
NOTIFICATION_RESPONSE: Final = 0x41  # A
NEGOTIATE_PROTOCOL_VERSION: Final = 0x76  # v
ROW_DESCRIPTION: Final = 0x54  # T
DATA_ROW: Final = 0x44  # D
COMMAND_COMPLETE: Final = 0x43  # C
EMPTY_QUERY_RESPONSE: Final = 0x49  # I
PARSE_COMPLETE: Final = 0x31  # 1
BIND_COMPLETE: Final = 0x32  # 2
CLOSE_COMPLETE: Final = 0x33  # 3
PARAMETER_DESCRIPTION: Final = 0x74  # t
NO_DATA: Final = 0x6E  # n
PORTAL_SUSPENDED: Final = 0x73  # s
FUNCTION_CALL_RESPONSE: Final = 0x56  # V
COPY_IN_RESPONSE: Final = 0x47  # G
COPY_OUT_RESPONSE: Final = 0x48  # H
COPY_BOTH_RESPONSE: Final = 0x57  # W

# Request codes of the untyped first packet.
PROTOCOL_3_0: Final = 0x00030000
PROTOCOL_3_2: Final = 0x00030002
CANCEL_REQUEST: Final = 80877102
SSL_REQUEST: Final = 80877103
GSSENC_REQUEST: Final = 80877104
#: What the protocol is called where TLS asks (manual 54.2.10), and the first byte of a handshake that
#: nothing announces.
ALPN: Final = "postgresql"
TLS_HANDSHAKE: Final = 0x16

# Authentication request codes.
AUTH_OK: Final = 0
AUTH_CLEARTEXT: Final = 3
AUTH_MD5: Final = 5
AUTH_SASL: Final = 10
AUTH_SASL_CONTINUE: Final = 11
AUTH_SASL_FINAL: Final = 12

# Transaction status of ReadyForQuery.
STATUS_IDLE: Final = 0x49  # I
STATUS_TRANSACTION: Final = 0x54  # T
STATUS_ERROR: Final = 0x45  # E

#: Largest startup packet and largest message during login, in bytes (postmaster: MAX_STARTUP_PACKET_LENGTH,
#: auth.c).
MAX_STARTUP_LENGTH: Final = 10_000
#: Parameters that a server may report, and bytes of them at its login: PostgreSQL 18 reports 16, in some 300.
MAX_REPORTED: Final = 128
MAX_REPORTED_BYTES: Final = 1 << 20
#: Largest message after the login (PQ_LARGE_MESSAGE_LIMIT: MaxAllocSize - 1).
MAX_MESSAGE_LENGTH: Final = 0x3FFFFFFE
