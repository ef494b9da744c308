cimport cython

from poolproxy.backend.server cimport Server
from poolproxy.frontend.naming cimport NamingClient
from poolproxy.protocol.framing cimport string_end
from poolproxy.protocol.pieces cimport head
from poolproxy.session.pipeline cimport Pipeline, Step
from poolproxy.session.prepared cimport ClientStatements, Held, Statement
from poolproxy.session.statements cimport Finding, Scanner
from poolproxy.session.unnamed cimport Unnamed

cdef int STATUS_FAILED, STATUS_IDLE, PARSE, BIND, DESCRIBE, CLOSE
cdef int NOTED, HELD, TAKEN
cdef int CLOSED, PARSED
cdef Py_ssize_t NAME_BYTES
cdef Statement UNSETTLED
cdef bytes NOBODYS, CHANGED
cdef Scanner SCANNER

cdef class PreparingClient(NamingClient):
    cdef int _query(self, Server server, bytearray buffer, Py_ssize_t position, Py_ssize_t following, Py_ssize_t end) except -1
    @cython.locals(statement=Statement, parse=bytes, text=bytes)
    cdef bint _look_at_parsed(self, bytes name) except -1
    @cython.locals(finding=Finding, pipeline=Pipeline, assignments=tuple)
    cdef int _parse(self, Server server, bytearray buffer, Py_ssize_t position, Py_ssize_t following, Py_ssize_t end) except -1
    cdef Unnamed _own_unnamed(self)
    @cython.locals(pipeline=Pipeline, unnamed=Unnamed)
    cdef _remember_unnamed(self, Server server, Finding finding, Py_ssize_t position, Py_ssize_t following)
    @cython.locals(begin=Py_ssize_t, stop=Py_ssize_t)
    cdef Finding _look_at_parse(self, bytearray buffer, Py_ssize_t position, Py_ssize_t following)
    @cython.locals(unnamed=Unnamed)
    cdef bint _unnamed_must_move(self, Server server) except -1
    @cython.locals(unnamed=Unnamed)
    cdef _parse_again(self, Server server)
    cdef _unnamed_again(self, Unnamed unnamed)
    cdef _run_unnamed(self, Server server, Unnamed unnamed)
    @cython.locals(pipeline=Pipeline, name_end=Py_ssize_t, name=bytes, key=bytes, names=bytes, target=bytes, found=bytes, statement=Statement)
    cdef Py_ssize_t _by_name(self, Server server, int kind, bytearray buffer, Py_ssize_t position, Py_ssize_t name_at, Py_ssize_t following, Py_ssize_t end) except -2
    cdef _ask_batch(self, Server server)
    cdef Py_ssize_t _await(self, Server server) except -2
    @cython.locals(pipeline=Pipeline, turn=Py_ssize_t, held=Held)
    cdef bytes _usable(self, Server server, Statement statement, int kind)
    cdef _run_again(self, Server server, Finding finding, bytes body)
    @cython.locals(pipeline=Pipeline, prepared=ClientStatements, turn=Py_ssize_t, length=Py_ssize_t, rest=Py_ssize_t, finding=Finding, statement=Statement, held=Held)
    cdef Py_ssize_t _parse_named(self, Server server, Statement existing, bytes key, bytearray buffer, Py_ssize_t position, Py_ssize_t name_end, Py_ssize_t following, Py_ssize_t end) except -2
    @cython.locals(pipeline=Pipeline)
    cdef bint _may_share(self, Server server) except -1
    @cython.locals(pipeline=Pipeline)
    cdef bytes _close_named(self, Server server, Statement statement, bytes key)
    cdef bint _bind_must_wait(self, Server server, Finding finding) except -1
    cpdef step_completed(self, Step step)
    @cython.locals(old=Statement, own=Statement)
    cpdef described_anew(self, Step step, bytes types, bytes shape)

@cython.locals(start=Py_ssize_t)
cpdef Py_ssize_t statement_at(bytearray buffer, int kind, Py_ssize_t position, Py_ssize_t end) except -2
