cimport cython

from poolproxy.backend.server cimport Server
from poolproxy.backend.sink cimport Sink
from poolproxy.log cimport Logger
from poolproxy.pool.pool cimport Pool
from poolproxy.protocol.framing cimport Framer
from poolproxy.session.parameters cimport ParameterSet, Reported
from poolproxy.session.prepared cimport ClientStatements
from poolproxy.session.statements cimport Finding
from poolproxy.session.words cimport Words
from poolproxy.transport.stream cimport Stream

cdef int STATUS_IDLE
cdef int CLIENT_ACTIVE, CLIENT_CLOSED, CLIENT_IDLE, CLIENT_LOGIN
cdef Logger _log

cdef class ClientConnection(Sink):
    cdef public Stream stream
    cdef public Pool pool
    cdef public ParameterSet startup
    cdef public ParameterSet session
    cdef public bytes name
    cdef public object address
    cdef public object pid
    cdef public bytes key
    cdef public double connected_at
    cdef public double last_active
    cdef public object on_closed
    cdef public Server server
    cdef public object hearing
    cdef public Framer framer
    cdef public bytes unnamed
    cdef public Py_ssize_t unnamed_turn
    cdef public Py_ssize_t unnamed_followed
    cdef public Py_ssize_t unnamed_number
    cdef public int unnamed_ordinal
    cdef public bint drew
    cdef public bint unnamed_draws
    cdef public bint unnamed_controls
    cdef public bint unnamed_large
    cdef public Finding unnamed_finding
    cdef public Words unnamed_words
    cdef public ClientStatements prepared
    cdef public bint local
    cdef public bint cautious
    cdef public bint controls
    cdef public bint discarding
    cdef public tuple vacated
    cdef public int buffers
    cdef public bint vanished
    cdef public tuple resets
    cdef public object taking
    cdef public bytes _prefix
    cdef bytes _proof
    cdef public object _greeting

    cpdef on_lost(self, str reason)
    cpdef fail(self, error)
    cpdef close(self, str reason)
    @cython.locals(server=Server)
    cdef _leave(self, str reason)
