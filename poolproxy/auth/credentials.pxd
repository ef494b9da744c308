cimport cython

from poolproxy.protocol.scram cimport ScramSecret

cdef int SALT_LENGTH

cdef class UserSecret:
    cdef readonly ScramSecret scram
    cdef readonly str md5
    cdef readonly bint known
    cdef readonly bint scram_only

cdef class _Mocks:
    cdef object _salt
    cdef ScramSecret _secret
    cdef readonly str md5
    cpdef bytes salt(self, str user)
    cpdef ScramSecret scram(self, str user)
    @cython.locals(mock=UserSecret)
    cpdef UserSecret secret(self, str user)

cdef class Credentials:
    cdef dict _users
    cdef _Mocks _mocks
    cpdef UserSecret lookup(self, str user)
