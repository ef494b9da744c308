cimport cython

from poolproxy.backend.server cimport Server
from poolproxy.frontend.forwarding cimport ForwardingClient
from poolproxy.session.pipeline cimport Pipeline
from poolproxy.session.statements cimport Finding, Scanner

cdef int STATUS_FAILED
cdef Scanner SCANNER

cdef class TextClient(ForwardingClient):
    cdef Finding _look(self, bytearray buffer, Py_ssize_t begin, Py_ssize_t stop)
    cdef Finding _look_again(self, Finding finding, bytes text)
    cdef _exchange(self, Server server, Finding finding)
    cdef tuple _follow(self, Server server, Finding finding)
    cdef bint _others_first(self, Server server, Finding finding, bint again) except -1
    cdef bint _hub_first(self, Server server, Finding finding, bint again) except -1
    cdef bint _tells_first(self, Server server, Finding finding) except -1
    cdef _lend(self, Server server, Finding finding)
    @cython.locals(pipeline=Pipeline)
    cdef _discard_sequences(self, Server server)
    cdef _restore(self, Server server)
    cdef _learn_bound(self, Py_ssize_t position, Py_ssize_t end)
    cpdef proceed(self)
