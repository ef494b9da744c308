cimport cython

from poolproxy.backend.server cimport Server
from poolproxy.backend.sink cimport Sink
from poolproxy.frontend.preparing cimport PreparingClient, statement_at
from poolproxy.pool.pool cimport Pool
from poolproxy.pool.queue cimport Member, Waiter
from poolproxy.protocol.framing cimport Framer, string_end
from poolproxy.session.pipeline cimport Pipeline
from poolproxy.session.statements cimport Finding
from poolproxy.session.unnamed cimport Unnamed
from poolproxy.transport.stream cimport Stream

cdef int STATUS_IDLE
cdef int NOTHING, PARTIAL
cdef int WHOLE, UNSYNCED, UNSAFE
cdef int QUERY, PARSE, BIND, DESCRIBE, EXECUTE, CLOSE, SYNC, FLUSH, FUNCTION_CALL, COPY_DATA, COPY_DONE, COPY_FAIL, TERMINATE
cdef int CLIENT_IDLE
cdef int UNKNOWN, NOTED, HELD, TAKEN
cdef Py_ssize_t KEEP_LIMIT, HEAD
cdef bytes STOPS, STOPS_COPYING

cdef class Client(PreparingClient):
    @cython.locals(framer=Framer, server=Server, start=Py_ssize_t, position=Py_ssize_t, following=Py_ssize_t, name_at=Py_ssize_t, ahead=Py_ssize_t, kind=int, noted=int, settled=bint)
    cpdef on_data(self, bytearray buffer, Py_ssize_t end)
    @cython.locals(finding=Finding, unnamed=Unnamed)
    cdef Py_ssize_t _by_no_name(self, Server server, int kind, bytearray buffer, Py_ssize_t start, Py_ssize_t position, Py_ssize_t end) except -2
    @cython.locals(pipeline=Pipeline)
    cdef bint _must_await(self, Server server, int kind, bytearray buffer, Py_ssize_t position, Py_ssize_t following, Py_ssize_t end) except -1
    cdef bint _needs_no_server(self, int kind) except -1
    cdef Server _borrow(self, int kind)
    cdef _queued(self)
    cdef bint _begin(self, Server server) except -1
    cdef _forward_to(self, Server server, bytearray buffer, Py_ssize_t start, Py_ssize_t end)
    cdef _take(self, Server server, Py_ssize_t end)
    @cython.locals(pipeline=Pipeline, unnamed=Unnamed)
    cdef int _note(self, Server server, int kind, bytearray buffer, Py_ssize_t position, Py_ssize_t following, Py_ssize_t end) except -1
    cpdef bint write(self, buffer, Py_ssize_t start, Py_ssize_t end) except -1
    cpdef exchange_over(self, double now)
    cpdef bint in_message(self) except -1
    cpdef detached(self, double now)
    cpdef server_drained(self)
    cpdef on_drained(self)
