cimport cython

from poolproxy.session.statements cimport Finding
from poolproxy.session.words cimport Words

@cython.final
cdef class Unnamed:
    cdef public bytes parse
    cdef public Py_ssize_t turn
    cdef public Py_ssize_t followed
    cdef public Py_ssize_t number
    cdef public Finding finding
    cdef public Words words
    cdef public int ordinal
    cdef public unsigned char draws
    cdef public unsigned char controls
    cdef public unsigned char large
    cpdef forget(self)
