cimport cython

from poolproxy.backend.server cimport Server
from poolproxy.frontend.texts cimport TextClient
from poolproxy.session.pipeline cimport Pipeline
from poolproxy.session.prepared cimport ClientStatements, Statement
from poolproxy.session.statements cimport Finding

cdef Statement UNSETTLED

cdef class NamingClient(TextClient):
    @cython.locals(statement=Statement)
    cdef _name_for_batch(self, Server server, Finding finding, bytes text)
    @cython.locals(statement=Statement)
    cdef _name_to_run(self, Server server, bytes text)
    @cython.locals(prepared=ClientStatements, statement=Statement)
    cdef _name_for_text(self, Server server, Finding finding, bytearray buffer, Py_ssize_t begin, Py_ssize_t stop)
    cdef bint _names_in_doubt(self, Server server, Finding finding) except -1
    @cython.locals(finding=Finding)
    cdef bint _names_wanted(self, bytearray buffer, Py_ssize_t begin, Py_ssize_t stop) except -1
    cdef _expect_deallocated(self, Server server, tuple names)
    cpdef deallocated(self, bytes name)
    @cython.locals(statement=Statement)
    cpdef discarded(self)
