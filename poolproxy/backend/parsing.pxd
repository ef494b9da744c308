cimport cython

from poolproxy.backend.server_session cimport ServerSession
from poolproxy.session.pipeline cimport Pipeline, Step
from poolproxy.session.prepared cimport Statement

cdef int STATUS_IDLE
cdef int PARSE, ERROR_RESPONSE
cdef int CLOSED, DESCRIBED, PARSED
cdef bytes STOPS, STOPS_ALL, STOPS_CLOSELY

cdef class ParsingServer(ServerSession):
    cpdef bytes replace_unnamed(self, Py_ssize_t number, bytes parse)
    cpdef bytes describe(self, Statement statement, bytes name)
    cpdef bytes prepare(self, Statement statement)
    cpdef bytes parse_as(self, bytes name, bytes body)
    cpdef bytes parse_ahead(self, bytes name, bytes body)
    cpdef look_closely(self)
    @cython.locals(following=Step)
    cdef _completed(self, Step step)
    cdef _give_up_steps(self)
    cdef _described(self, bytes description)
    cdef _command_complete(self, bytes tag)
    @cython.locals(following=Step)
    cdef bint _of_our_parse(self, bytes report) except -1
