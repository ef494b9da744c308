cimport cython

from poolproxy.auth.credentials cimport UserSecret
from poolproxy.protocol.messages cimport authentication_sasl_continue, authentication_sasl_final, sasl_initial_fields
from poolproxy.protocol.scram cimport ScramServer, new_nonce

cdef bytes _OFFER_SCRAM, _OFFER_BINDING, MECHANISM, MECHANISM_PLUS
cdef int PASSWORD

cdef class Secrets:
    cpdef UserSecret secret(self, str user)

cdef class ClientLogin:
    cdef str _user
    cdef Secrets _secrets
    cdef object _random_bytes
    cdef readonly bint done
    cdef readonly object work
    cdef readonly str token
    cpdef bytes begin(self)
    cpdef bytes answer(self, int kind, bytes body)
    cpdef bytes conclude(self, bint result)
    cpdef object proof(self)
    cpdef ahead(self)
    cdef bytes _answer(self, bytes body)

cdef class ScramLogin(ClientLogin):
    cdef bint _chosen
    cdef bint _bound
    cdef bytes _binding
    cpdef bind_to(self, bytes binding)
    cdef ScramServer _exchange
    cdef UserSecret _secret
    cdef bytes _first(self, bytes client_first)
    cdef bytes _final(self, ScramServer exchange, bytes client_final)

cdef class Md5Login(ClientLogin):
    cdef bytes _salt

cdef class PasswordLogin(ClientLogin):
    cdef str _password

cdef class TokenLogin(PasswordLogin):
    pass

@cython.locals(login=ScramLogin)
cpdef ClientLogin client_login(str method, str user, Secrets secrets, random_bytes, bytes binding=*)
