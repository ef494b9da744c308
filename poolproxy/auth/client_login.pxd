cimport cython

from poolproxy.auth.credentials cimport UserSecret
from poolproxy.protocol.messages cimport authentication_sasl_continue, authentication_sasl_final, sasl_initial_fields
from poolproxy.protocol.scram cimport ScramServer, new_nonce

cdef bytes _OFFER_SCRAM, MECHANISM
cdef int PASSWORD

cdef class ClientLogin:
    cdef str _user
    cdef UserSecret _secret
    cdef object _random_bytes
    cdef readonly bint done
    cpdef bytes begin(self)
    cpdef bytes answer(self, int kind, bytes body)
    cdef bytes _answer(self, bytes body)

cdef class ScramLogin(ClientLogin):
    cdef bint _chosen
    cdef ScramServer _exchange
    cdef bytes _first(self, bytes client_first)
    cdef bytes _final(self, ScramServer exchange, bytes client_final)

cdef class Md5Login(ClientLogin):
    cdef bytes _salt

cpdef ClientLogin client_login(str method, str user, UserSecret secret, random_bytes)
