"""The same byte stream over TLS: Python's own ssl between the socket and the shared buffer.

One recv brings as many records as have arrived, and one send takes all records of a chunk; on a socket of its own
OpenSSL makes two system calls for each record that it reads, and one for each that it writes. Records are cut here, so
that OpenSSL never holds a part of one, nor its two memory buffers more than a piece of a chunk. Must not know how the
handshake was made.
"""

from cpython.buffer cimport PyBUF_READ, PyBUF_WRITE
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc cimport errno
from libc.string cimport memcpy

from ssl import SSLError, SSLWantReadError

from poolproxy.transport.stream cimport Handler, Stream

cdef extern from "sys/socket.h" nogil:
    ssize_t c_send "send"(int fd, const void *data, size_t size, int flags)
    int MSG_NOSIGNAL

#: A record's header, the most plaintext in one, and the most it may claim to have behind its header (RFC 5246, 6.2.3).
cdef enum:
    HEADER = 5
    RECORD = 16384
    LONGEST = 16384 + 2048

#: Kinds of records from change_cipher_spec to application_data, and the first half of every version.
cdef enum:
    FIRST_KIND = 20
    LAST_KIND = 23
    MAJOR = 3

#: What one recv may bring: with a part of a record before it, it is decrypted into one chunk of the shared buffer.
cdef enum:
    CIPHERTEXT = 98304

#: What the peer may have us answer (KeyUpdate) without reading the answers: it is not to grow.
cdef enum:
    UNREAD = 262144

#: Ciphertext on its way to OpenSSL, of one stream at a time: none is left when a read ends.
cdef char _ciphertext[LONGEST + HEADER + CIPHERTEXT]


cdef Py_ssize_t _whole(const char *data, Py_ssize_t size, Py_ssize_t most) noexcept:
    """How many bytes at the start are whole records: of the first one, and of what follows while it is `most` at most.
    All of them where that is no record: OpenSSL is to say so, and no rest is to be waited for."""
    cdef const unsigned char *header
    cdef Py_ssize_t position = 0, following
    while position < size:
        header = <const unsigned char *>data + position
        if not FIRST_KIND <= header[0] <= LAST_KIND:
            return size
        if position + HEADER > size:
            break
        following = (header[3] << 8) | header[4]
        if header[1] != MAJOR or following > LONGEST:
            return size
        following += position + HEADER
        if following > size or (position and following > most):
            break
        position = following
    return position


cpdef Py_ssize_t whole_records(data, Py_ssize_t size) except -1:
    if size > len(data):
        raise ValueError(f"{size} bytes of {len(data)}")
    if type(data) is bytearray:
        return _whole(PyByteArray_AS_STRING(data), size, size)
    return _whole(PyBytes_AS_STRING(data), size, size)


cdef class TlsStream(Stream):

    def __init__(self, Stream plain, Handler handler, tls, incoming, outgoing):
        self._tls = tls
        self._incoming = incoming
        self._outgoing = outgoing
        self._primed = incoming.pending > 0
        self._take_over(plain)
        self.handler = handler
        if self._primed:
            self._readable = True
            self.queue()

    def hold(self, bytes partial):
        """A part of a record that came behind the handshake: what is read next continues it."""
        if len(partial) > LONGEST + HEADER:
            raise ValueError(f"{len(partial)} bytes are no part of a record")
        self._partial = partial or None

    cdef ssize_t _receive(self, char *data, Py_ssize_t size) except -2:
        cdef ssize_t count, opened
        cdef Py_ssize_t held
        while not (self._ended or self._spoilt):
            if self._primed:
                self._more = True
                opened = self._decrypt(data, size)
            else:
                held = 0
                if self._partial is not None:
                    held = len(self._partial)
                    memcpy(_ciphertext, PyBytes_AS_STRING(self._partial), held)
                count = Stream._receive(self, _ciphertext + held, CIPHERTEXT)
                if count <= 0:
                    return count
                opened = self._open_records(data, size, held + count)
            if opened:
                if self._primed or self._ended or self._spoilt:
                    self._more = True
                return opened
            # A hang-up has no further edge: the end behind a part of a record is read now.
            if not (self._more or self._hangup or self._ended or self._spoilt):
                errno.errno = errno.EAGAIN  # by its module: else it is a name of this function's
                return -1
        if self._ended:
            return 0
        errno.errno = errno.EPROTO
        return -1

    cdef ssize_t _open_records(self, char *data, Py_ssize_t size, Py_ssize_t count) except -2:
        """Decrypt what _ciphertext has, but for a last record that is not whole yet."""
        cdef Py_ssize_t position = 0, opened = 0, piece
        while position < count and not (self._ended or self._spoilt):
            piece = _whole(_ciphertext + position, count - position, RECORD)
            if piece == 0:
                break
            self._incoming.write(PyMemoryView_FromMemory(_ciphertext + position, piece, PyBUF_READ))
            position += piece
            opened += self._decrypt(data + opened, size - opened)
        self._partial = PyBytes_FromStringAndSize(_ciphertext + position, count - position) if position < count else None
        return opened

    cdef ssize_t _decrypt(self, char *data, Py_ssize_t size) except -2:
        """What OpenSSL has, into data[:size]. `_primed`: it has more."""
        cdef Py_ssize_t opened = 0
        cdef Py_ssize_t count
        self._primed = False
        try:
            while True:
                if size - opened < RECORD:
                    self._primed = True
                    break
                count = self._tls.read(RECORD, PyMemoryView_FromMemory(data + opened, RECORD, PyBUF_WRITE))
                if count == 0:
                    self._ended = True
                    break
                opened += count
                if not self._incoming.pending:
                    break
        except SSLWantReadError:
            pass  # it was none of data: a ticket, a new key
        except SSLError as error:
            self._spoilt = True
            self._fault = f"TLS: {(error.reason or type(error).__name__).lower().replace('_', ' ')}"
        self._say_what_is_due()
        return opened

    cdef int _say_what_is_due(self) except -1:
        """What OpenSSL has to say of itself: an alert, the answer to a KeyUpdate."""
        cdef bytes due
        if self._outgoing.pending:
            due = self._outgoing.read()
            if self.backlog > UNREAD:
                self._spoilt = True
            else:
                Stream.write(self, due, 0, len(due))
        return 0

    cpdef bint write(self, object data, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef bytes sealed
        if self.fd < 0 or self._broken or start >= end:
            return True
        try:
            sealed = self._encrypt(data, start, end)
        except SSLError:
            self._break(errno.EPROTO)
            return True
        return Stream.write(self, sealed, 0, len(sealed))

    cdef bytes _encrypt(self, object data, Py_ssize_t start, Py_ssize_t end):
        cdef char *source
        cdef Py_ssize_t size
        cdef list sealed = []
        if type(data) is bytearray:
            source = PyByteArray_AS_STRING(data)
        else:
            source = PyBytes_AS_STRING(data)
        while start < end:
            size = min(end - start, RECORD)
            self._tls.write(PyMemoryView_FromMemory(source + start, size, PyBUF_READ))
            start += size
            sealed.append(self._outgoing.read())
        return sealed[0] if len(sealed) == 1 else b"".join(sealed)

    def _lost_now(self, str reason):
        """The peer's alert is a better reason than what its end looks like to the socket. Where a send has failed it
        may still wait to be read: in TLS 1.3 a certificate of ours is refused after we think that all is well."""
        cdef int looks = 4
        while self._broken and looks and self.fd >= 0 and self._fault is None:
            if self._receive(PyByteArray_AS_STRING(self.poller.buffer), len(self.poller.buffer)) <= 0:
                break
            looks -= 1
        Stream._lost_now(self, reason if self._fault is None else self._fault)

    cdef int _part(self) except -1:
        """As without TLS; the peer is told first, if there is room for it."""
        cdef bytes farewell
        try:
            self._tls.unwrap()
        except SSLError:
            pass  # it would wait for the peer's own farewell
        farewell = self._outgoing.read()
        if farewell:
            c_send(self.fd, PyBytes_AS_STRING(farewell), len(farewell), MSG_NOSIGNAL)
        return Stream._part(self)

    cpdef close(self):
        Stream.close(self)
        self._tls = self._incoming = self._outgoing = None
        self._partial = None
