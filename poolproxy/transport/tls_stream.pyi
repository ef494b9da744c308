import ssl

from poolproxy.transport.stream import Handler, Stream

def whole_records(data: bytes | bytearray, size: int) -> int:
    """How many of the first `size` bytes are whole TLS records (RFC 8446, 5.1). What is no record,
    or claims to be longer than one may be, counts as whole: OpenSSL is to say what is wrong with it."""

class TlsStream(Stream):
    def __init__(
        self,
        plain: Stream,
        handler: Handler,
        tls: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
    ) -> None:
        """Takes the connection over from `plain`, which has handled the handshake; what `incoming` still
        holds came behind it and is read first."""

    def hold(self, partial: bytes) -> None: ...
