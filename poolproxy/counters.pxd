cimport cython

cdef Py_ssize_t BUCKETS

@cython.final
cdef class Histogram:
    cdef public Py_ssize_t counts[28]
    cdef public double total
    @cython.locals(micros=Py_ssize_t, bucket=Py_ssize_t)
    cpdef observe(self, double seconds)

@cython.final
cdef class PoolCounters:
    cdef public Py_ssize_t queries
    cdef public Py_ssize_t pinned_queries
    cdef public Py_ssize_t transactions
    cdef public Py_ssize_t bytes_received
    cdef public Py_ssize_t bytes_sent
    cdef public Py_ssize_t out_of_sync
    cdef public Py_ssize_t parses
    cdef public Py_ssize_t handover_resets
    cdef public Py_ssize_t notifications
    cdef public Py_ssize_t hub_losses
    cdef public dict audits
    cdef public Histogram borrow
    cdef public Histogram query
    cdef public Histogram transaction
    cdef public dict server_connects
    cdef public dict pins
    cdef public dict pin_seconds
    cdef public dict errors
