cimport cython

from poolproxy.backend.server cimport Server
from poolproxy.frontend.connection cimport ClientConnection
from poolproxy.log cimport Logger
from poolproxy.pool.queue cimport Member
from poolproxy.session.parameters cimport ParameterSet, Reported
from poolproxy.session.unnamed cimport Unnamed

cdef int STATUS_IDLE
cdef int CLIENT_IDLE, CLIENT_WAITING
cdef Logger _log

cdef class ClientSession(ClientConnection):
    cpdef begin(self, bytes proof, greeting)
    cpdef bint _greet_known(self) except -1
    cpdef tuple _asked(self)
    cdef _greet(self, Reported reported)
    cpdef wait(self)
    cpdef granted(self, Member server)
    cpdef attach(self, Member server)
    cpdef apply_parameters(self)
    cpdef read_on(self)
    cpdef give_up(self, error)
    cpdef assigned(self, tuple assignments)
    cpdef _settle_parameters(self)
    @cython.locals(unnamed=Unnamed, server=Server)
    cpdef statement_failed(self, Py_ssize_t turn, int parses)
    cpdef forget_unnamed(self, Server server)
    cpdef on_lost(self, str reason)
    cpdef server_lost(self, bint told, refusal)
