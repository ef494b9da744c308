from poolproxy.transport.stream cimport Stream

cpdef Py_ssize_t whole_records(data, Py_ssize_t size) except -1

cdef class TlsStream(Stream):
    cdef object _tls
    cdef object _incoming
    cdef object _outgoing
    cdef bytes _partial
    cdef str _fault
    cdef unsigned char _primed
    cdef unsigned char _ended
    cdef unsigned char _spoilt
    cdef ssize_t _open_records(self, char *data, Py_ssize_t size, Py_ssize_t count) except -2
    cdef ssize_t _decrypt(self, char *data, Py_ssize_t size) except -2
    cdef bytes _encrypt(self, object data, Py_ssize_t start, Py_ssize_t end)
    cdef int _say_what_is_due(self) except -1
