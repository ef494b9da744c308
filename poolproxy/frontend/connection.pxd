cimport cython

from poolproxy.backend.server cimport Server
from poolproxy.backend.sink cimport Sink
from poolproxy.log cimport Logger
from poolproxy.pool.pool cimport Pool
from poolproxy.protocol.framing cimport Framer
from poolproxy.session.parameters cimport ParameterSet, Reported
from poolproxy.session.prepared cimport ClientStatements
from poolproxy.session.unnamed cimport Unnamed
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
    cdef public ClientStatements prepared
    cdef public tuple vacated
    cdef public tuple resets
    cdef public object taking
    cdef public bytes _prefix
    cdef bytes _proof
    cdef public object _greeting
    cdef public Unnamed unnamed
    # Bytes, not bints: there are thousands of clients.
    cdef public unsigned char drew
    cdef public unsigned char local
    cdef public unsigned char cautious
    cdef public unsigned char controls
    cdef public unsigned char discarding
    cdef public unsigned char vanished
    cdef public unsigned char buffers

    cpdef on_lost(self, str reason)
    cpdef fail(self, error)
    cpdef close(self, str reason)
    @cython.locals(server=Server)
    cdef _leave(self, str reason)
