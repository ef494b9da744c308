cimport cython

from poolproxy.backend.server cimport Server, Sink
from poolproxy.pool.pool cimport Pool
from poolproxy.pool.queue cimport Member, Waiter
from poolproxy.protocol.framing cimport Framer, string_end
from poolproxy.session.parameters cimport ParameterSet, Reported
from poolproxy.session.pipeline cimport Pipeline
from poolproxy.session.statements cimport Finding, Scanner
from poolproxy.transport.stream cimport Stream

cdef int STATUS_IDLE
cdef int NOTHING, PARTIAL
cdef int QUERY, PARSE, BIND, DESCRIBE, EXECUTE, CLOSE, SYNC, FLUSH, FUNCTION_CALL, COPY_DATA, COPY_DONE, COPY_FAIL, TERMINATE
cdef int CLIENT_ACTIVE, CLIENT_CLOSED, CLIENT_IDLE, CLIENT_WAITING
cdef Py_ssize_t KEEP_LIMIT, BIND_HEAD
cdef bytes _STOPS, _STOPS_DETACHED
cdef Scanner _scanner

cdef class Client(Sink):
    cdef public Stream stream
    cdef public Pool pool
    cdef public ParameterSet startup
    cdef public ParameterSet session
    cdef public bytes name
    cdef public ParameterSet parameters
    cdef public str address
    cdef public object pid
    cdef public bytes key
    cdef public double connected_at
    cdef public double last_active
    cdef public object on_closed
    cdef public Server server
    cdef public Framer framer
    cdef public bytes unnamed
    cdef public bint controls
    cdef bytes _prefix
    cdef public object _greeting

    @cython.locals(framer=Framer, server=Server, start=Py_ssize_t, position=Py_ssize_t, following=Py_ssize_t, kind=int)
    cpdef on_data(self, bytearray buffer, Py_ssize_t end)
    cdef Server _borrow(self, int kind)
    cdef _parse_again(self, Server server)
    cdef _wait(self)
    cdef _attach(self, Server server)
    cpdef granted(self, Member server)
    cdef bint _begin(self, Server server) except -1
    cdef _forward(self, Server server, bytearray buffer, Py_ssize_t start, Py_ssize_t end)
    @cython.locals(finding=Finding)
    cdef _query(self, Server server, bytearray buffer, Py_ssize_t position, Py_ssize_t following, Py_ssize_t end)
    @cython.locals(finding=Finding, named=bint, begin=Py_ssize_t, stop=Py_ssize_t)
    cdef _parse(self, Server server, bytearray buffer, Py_ssize_t position, Py_ssize_t following, Py_ssize_t end)
    cdef _sync(self, Server server)
    cdef _parse_again(self, Server server)
    cdef _function_call(self, Server server, bytearray buffer, Py_ssize_t position, Py_ssize_t following, Py_ssize_t end)
    cdef _read_on(self)
    cpdef close(self, str reason)

cdef bint _names_unnamed(bytearray buffer, Py_ssize_t position, Py_ssize_t end) except -1
