cimport cython

from poolproxy.auth.client_login cimport ClientLogin, Secrets, client_login
from poolproxy.auth.credentials cimport UserSecret
from poolproxy.protocol.startup cimport StartupMessage, negotiation, read_first_packet
from poolproxy.session.startup_parameters cimport Wanted, wanted_parameters
from poolproxy.transport.poller cimport Poller
from poolproxy.transport.stream cimport Handler, Stream

cdef int MAX_STARTUP_LENGTH
cdef int TLS_HANDSHAKE
cdef frozenset _NOTHING_ASKED, _BOTH_ASKED

cdef class Login

cdef class OneSecret(Secrets):
    cdef UserSecret _secret
    cpdef UserSecret secret(self, str user)

cdef class Door(Secrets):
    cdef public str method
    cdef public object random_bytes
    cdef public object tls
    cdef public object workers
    cdef public object inquirer
    cpdef bint balanced(self, address) except -1
    cpdef str method_of(self, Login login, StartupMessage startup)
    cpdef bint inquire(self, Login login) except -1
    cpdef bint try_out(self, Login login, str token) except -1
    cpdef arrived(self, Login login)
    cpdef admit(self, Login login)
    cpdef bint holds_back(self, Login login) except -1
    cpdef let_go(self, Login login)
    cpdef enter(self, Login login, StartupMessage startup, Wanted wanted, bytes proof)
    cpdef left(self, Login login, str result, error)

cdef class Login(Handler):
    cdef Door _door
    cdef ClientLogin _dialogue
    cdef readonly StartupMessage startup
    cdef Wanted _wanted
    cdef frozenset _encryption_asked
    cdef bint _header_due
    cdef bint _handshaking
    cdef bint _computing
    cdef readonly object encryption
    cdef bint _waits
    cdef Secrets _secrets
    cdef object _late
    cdef Py_ssize_t _ignored
    cdef readonly bint forwarded
    cdef readonly bint spoke
    cdef readonly bint held
    cdef public bint excess
    cdef readonly object address
    cdef readonly double began
    cdef readonly str method
    cdef readonly Stream stream

    cpdef user(self)
    cpdef object proof(self)
    @cython.locals(position=Py_ssize_t)
    cpdef on_data(self, bytearray buffer, Py_ssize_t end)
    cdef Py_ssize_t _header(self, Py_ssize_t end) except -1
    cdef Py_ssize_t _first_packets(self, Py_ssize_t position, Py_ssize_t end) except -1
    cdef bint _first_packet(self, packet) except -1
    cpdef bint local(self) except -1
    cdef bint _may_encrypt(self) except -1
    cdef _encrypt(self, bint direct)
    cpdef _encrypted(self, stream, encryption, error)
    @cython.locals(negotiated=bytes)
    cdef _start(self, StartupMessage startup)
    @cython.locals(asked=bytes)
    cdef _begin(self, StartupMessage startup, bytes negotiated)
    cpdef prove(self, UserSecret secret)
    cdef _go_on(self, bytes answer)
    @cython.locals(dialogue=ClientLogin, length=Py_ssize_t, following=Py_ssize_t)
    cdef _messages(self, bytearray buffer, Py_ssize_t position, Py_ssize_t end)
    cdef _compute(self, ClientLogin dialogue)
    cpdef _computed(self, result, error)
    cpdef on_drained(self)
    cpdef on_lost(self, str reason)
    cpdef fail(self, error)
    cdef _ignore(self, Py_ssize_t count)
    cpdef answer_now(self)
    cdef _say(self, error)
    cdef _refuse(self, error, str result)
    cdef _over(self, str result, error=*)
