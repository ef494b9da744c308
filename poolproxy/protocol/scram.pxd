cimport cython

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

cdef class ScramServer:
    cdef bytes _expected
    cdef bytes _first_messages
    cdef bytes _nonce
    cdef ScramSecret _secret
    @cython.locals(header=bytes, bare=bytes, name=bytes, rest=bytes, nonce=bytes, nonces=bytes, server_first=bytes)
    cpdef bytes first(self, bytes client_first)
    @cython.locals(without_proof=bytes, separator=bytes, proof=bytes, expected=bytes, claimed=bytes)
    cpdef bytes final(self, bytes client_final)
    @cython.locals(secret=ScramSecret, client_key=bytearray, signature=bytes)
    cdef bytes _verdict(self, bytes auth_message, bytes proof)

cdef bytes _b64(bytes data)
cdef bytes _decoded(bytes data)
@cython.locals(mixed=bytearray, index=int)
cdef bytearray _xor(bytes left, bytes right)
cdef bint _is_attribute(bytes part, int letter) except -1
@cython.locals(index=Py_ssize_t, byte=int)
cdef _check_nonce(bytes attribute)
@cython.locals(drawn=bytes)
cpdef bytes new_nonce(random_bytes=*)
