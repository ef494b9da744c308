cdef class Lead:
    cdef readonly bytes word
    cdef readonly int effect
    cdef readonly str reason
    cdef readonly int context

cdef class Words:
    cdef public dict reasons
    cdef public bytes sieve
    cdef readonly tuple source
