cimport cython

from poolproxy.auth.randomness cimport RandomBytes
from poolproxy.frontend.client_session cimport ClientSession
from poolproxy.frontend.connection cimport ClientConnection
from poolproxy.protocol.messages cimport uint32

cdef Py_ssize_t FIRST_PID, LAST_PID, SHORT_KEY, LONG_KEY

cdef class Directory:
    cdef dict _clients
    cdef RandomBytes _random_bytes
    cpdef bytes new_key(self, int minor)
    @cython.locals(pid=Py_ssize_t)
    cpdef enlist(self, ClientSession client)
    @cython.locals(client=ClientSession)
    cpdef list silent_since(self, double moment)
    cpdef remove(self, ClientConnection client)
