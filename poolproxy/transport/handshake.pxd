cimport cython

from poolproxy.transport.client_hello cimport ClientHello, asks_again, first_word, is_answer, is_hello, read_client_hello
from poolproxy.transport.stream cimport Handler, Stream
from poolproxy.transport.tls_stream cimport TlsStream, whole_records

cdef class Cost:
    cdef dict _seconds
    cpdef note(self, int group, int step, double seconds)
    cpdef double of(self, int group, int step) except -1.0

cdef class Handshake(Handler):
    cdef Stream _stream
    cdef Handler _handler
    cdef object _workers
    cdef double _since
    cdef object _ended
    cdef Py_ssize_t _received
    cdef object _incoming
    cdef object _outgoing
    cdef readonly object tls
    @cython.locals(whole=Py_ssize_t, ready=Py_ssize_t)
    cpdef on_data(self, bytearray buffer, Py_ssize_t end)
    cdef bint _accepts(self) except -1
    cdef Py_ssize_t _ready(self, Py_ssize_t whole) except -1
    cdef _compute(self)
    @cython.locals(said=bytes)
    cdef _go_on(self, bint over, error)
    cdef _answered(self, bytes said)
    @cython.locals(partial=bytes, stream=TlsStream)
    cdef _finish(self)
    cdef _fail(self, str reason)
    cpdef on_drained(self)
    cpdef on_lost(self, str reason)
    cpdef fail(self, error)

cdef class Accepting(Handshake):
    cdef Cost _cost
    cdef object _look
    cdef bint _open
    cdef bint _again
    cdef bint _alone
    cdef Py_ssize_t _seen
    cdef int _steps
    cdef double _took
    cdef double _answer
    cdef readonly ClientHello hello
    @cython.locals(records=bytes, position=Py_ssize_t, hello=ClientHello)
    cdef Py_ssize_t _ready(self, Py_ssize_t whole) except -1
    @cython.locals(hello=ClientHello, seconds=double)
    cdef _compute(self)
    @cython.locals(hello=ClientHello)
    cdef ClientHello _known(self)
    cdef _answered(self, bytes said)
    @cython.locals(hello=ClientHello)
    cdef _finish(self)
