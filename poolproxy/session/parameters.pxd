cdef class ParameterSet:
    cdef object __weakref__
    cdef readonly dict values
    cdef public bint refused

cdef class Reported:
    cdef object __weakref__
    cdef readonly dict values
    cdef public bytes messages
    cdef readonly bint cautious
