cimport cython

from poolproxy.auth.credentials cimport Credentials, UserSecret
from poolproxy.frontend.client cimport Client
from poolproxy.frontend.entrance cimport Entrance
from poolproxy.frontend.login cimport Login
from poolproxy.frontend.connection cimport ClientConnection
from poolproxy.log cimport Logger
from poolproxy.pool.pool cimport Pool
from poolproxy.protocol.messages cimport backend_key_data
from poolproxy.protocol.startup cimport StartupMessage
from poolproxy.session.parameters cimport Reported
from poolproxy.session.startup_parameters cimport Wanted
from poolproxy.transport.tls_stream cimport TlsStream

cdef bytes _AUTHENTICATION_OK, _READY
cdef Logger _log
cdef dict _REJECTIONS
cdef tuple _BY_SECRET

cdef class FrontDoor(Entrance):
    cdef public object pools
    cdef public object trials
    cdef public Py_ssize_t encrypted
    cdef public dict login_results
    cdef public object cancels
    cdef public object errors
    cdef object _router
    cdef Credentials _credentials
    cdef object _rules
    cdef tuple _balancers
    cdef double _look_at
    cdef Py_ssize_t _limit
    cdef object _greet
    cdef object _when_closed

    cpdef UserSecret secret(self, str user)
    cpdef bint balanced(self, address) except -1
    cpdef str method_of(self, Login login, StartupMessage startup)
    cdef str _by_rule(self, Login login, StartupMessage startup)
    cdef str _by_secret(self, str user)
    cpdef bint inquire(self, Login login) except -1
    cpdef bint try_out(self, Login login, str token) except -1
    cpdef admit(self, Login login)
    @cython.locals(known=dict, pool=Pool, client=Client, name=str)
    cpdef enter(self, Login login, StartupMessage startup, Wanted wanted, bytes proof)
    @cython.locals(results=dict, asked=tuple)
    cpdef left(self, Login login, str result, error)
    cpdef _closed(self, ClientConnection client)
    @cython.locals(key=bytes)
    cpdef bytes _greeting(self, ClientConnection client, bytes proof, Reported reported)

cdef bytes _parameter_messages(Reported reported)
