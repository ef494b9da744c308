from poolproxy.frontend.directory cimport Directory
from poolproxy.frontend.login cimport Door, Login
from poolproxy.log cimport Logger
from poolproxy.transport.poller cimport Poller
from poolproxy.transport.stream cimport Stream

cdef Logger _log

cdef class Entrance(Door):
    cdef public Directory clients
    cdef public dict logins
    cdef public list listeners
    cdef public bint draining
    cdef public object rejections
    cdef public object pauses
    cdef readonly object places
    cdef readonly object failures
    cdef Poller _poller
    cdef object _settings
    cdef list _farewells
    cdef Py_ssize_t _most_logins
    cdef Py_ssize_t _few_logins
    cdef Py_ssize_t _room
    cdef bint _counting
    cdef bint _exhausted
    cdef bint _full

    cpdef accept(self, descriptor, address)
    cdef Py_ssize_t _taken(self) except -1
    cpdef _accept_again(self)
    cpdef arrived(self, Login login)
    cpdef bint holds_back(self, Login login) except -1
    cpdef let_go(self, Login login)
    cdef _say_farewell(self, Stream stream)
