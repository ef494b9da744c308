cimport cython

from poolproxy.protocol.pieces cimport cut, find, xor

cdef bytes _INNER_PAD, _OUTER_PAD, _PRINTABLE
cdef dict _GS2_HEADERS
cdef int _KEY_LENGTH, _BLOCK_LENGTH, MAX_NONCE_LENGTH, _NONCE_LENGTH

cdef class Mac:
    cdef object _inner
    cdef object _outer
    cpdef bytes digest(self, bytes message)

cdef class ScramSecret:
    cdef readonly object iterations
    cdef readonly bytes salt
    cdef readonly bytes stored_key
    cdef readonly bytes server_key
    cdef bytes _asked
    cdef bytes _challenge
    cdef Mac _stored_mac
    cdef Mac _server_mac
    cdef _ask_with(self, bytes salt)
    @cython.locals(other=ScramSecret)
    cpdef ScramSecret salted(self, bytes salt)

@cython.locals(signature=bytes)
cdef tuple _signatures(ScramSecret secret, bytes auth_message)

cdef class ScramServer:
    cdef tuple _ahead
    cdef bytes _expected
    cdef bytes _first_messages
    cdef bytes _nonce
    cdef ScramSecret _secret
    cdef bytes _binding
    cdef bint _bound
    cdef readonly bytes client_key
    cdef bytes _encoded(self, bytes header)
    @cython.locals(size=Py_ssize_t, start=Py_ssize_t, comma=Py_ssize_t, end=Py_ssize_t, header=bytes, nonces=bytes, server_first=bytes)
    cpdef bytes first(self, bytes client_first)
    cpdef ahead(self)
    @cython.locals(
        size=Py_ssize_t, repeated=Py_ssize_t, behind=Py_ssize_t, same=bint, expected=bytes, claimed=bytes,
        signatures=tuple, signature=bytes, server_final=bytes, client_key=bytes,
    )
    cpdef bytes final(self, bytes client_final)

@cython.locals(line=bytes)
cdef bytes _b64(bytes data)
cdef bytes _decoded(bytes data)
cdef object _EMPTY
cdef bytes _hashed(bytes text)
@cython.locals(comma=Py_ssize_t)
cdef Py_ssize_t _attribute(bytes text, Py_ssize_t start, int letter) except -2
cdef Py_ssize_t _proof(bytes text, Py_ssize_t comma) except -2
@cython.locals(index=Py_ssize_t, byte=int)
cdef _check_nonce(bytes text, Py_ssize_t start, Py_ssize_t end)
@cython.locals(drawn=bytes)
cpdef bytes new_nonce(random_bytes=*)
