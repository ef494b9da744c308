from poolproxy.transport.poller cimport Pollable, Poller

cdef class Listener(Pollable):
    cdef object _on_accept
    cdef object _on_exhausted
    cdef readonly bint accepting
    cpdef pause(self)
    cpdef resume(self)
    cpdef close(self)
