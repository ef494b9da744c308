cimport cython

from poolproxy.protocol.scram cimport ScramSecret

cdef int SALT_LENGTH
cdef int _LOT

cdef class UserSecret:
    cdef readonly ScramSecret scram
    cdef readonly str md5
    cdef readonly bint known
    cdef readonly bint scram_only

cdef class _Kind:
    cdef readonly ScramSecret secret
    cdef readonly Py_ssize_t salt_length
    cdef readonly bint scram_only

cdef class _Mocks:
    cdef object _salt
    cdef list _kinds
    cdef readonly str md5
    cdef bytes _drawn(self, str user)
    cpdef bytes salt(self, str user)
    cpdef ScramSecret scram(self, str user)
    @cython.locals(mock=UserSecret, kind=_Kind, drawn=bytes, lot=cython.longlong)
    cpdef UserSecret secret(self, str user)

cdef class Credentials:
    cdef dict _users
    cdef _Mocks _mocks
    cpdef UserSecret lookup(self, str user)
