cimport cython

from poolproxy.auth.credentials cimport Credentials
from poolproxy.frontend.client cimport Client
from poolproxy.frontend.directory cimport Directory
from poolproxy.frontend.login cimport Login
from poolproxy.frontend.session cimport ClientSession
from poolproxy.pool.pool cimport Pool
from poolproxy.protocol.messages cimport backend_key_data
from poolproxy.session.parameters cimport ParameterSet, Reported
from poolproxy.transport.poller cimport Poller

cdef bytes _AUTHENTICATION_OK, _READY
cdef dict _REJECTIONS

cdef class FrontDoor:
    cdef public str method
    cdef public object pools
    cdef public Directory clients
    cdef public object random_bytes
    cdef public dict logins
    cdef public list listeners
    cdef public bint draining
    cdef public object login_results
    cdef public object rejections
    cdef public object pauses
    cdef public object cancels
    cdef public object errors
    cdef Poller _poller
    cdef object _settings
    cdef object _router
    cdef Credentials _credentials
    cdef list _farewells
    cdef double _look_at
    cdef Py_ssize_t _limit
    cdef Py_ssize_t _room
    cdef bint _exhausted
    cdef bint _full

    cpdef accept(self, descriptor, str address)
    cdef Py_ssize_t _taken(self) except -1
    cpdef secret(self, str user)
    cpdef admit(self)
    @cython.locals(pool=Pool, client=Client)
    cpdef enter(self, Login login, startup, ParameterSet wanted, bytes proof)
    cpdef left(self, Login login, str result, error)
    @cython.locals(key=bytes)
    cpdef bytes _greeting(self, bytes proof, ClientSession client, Reported reported)

cdef bytes _parameter_messages(Reported reported)
