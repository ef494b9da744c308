cdef class ParameterSet:
    cdef object __weakref__
    cdef readonly dict values
    cdef readonly bint large
    cdef public bint refused
    cdef readonly double idle_limit
    cdef ParameterSet _planning
    cpdef ParameterSet planning(self)
    cpdef ParameterSet assign(self, str name, fragment)
    cpdef ParameterSet over(self, ParameterSet base)

cdef class Reported:
    cdef object __weakref__
    cdef readonly dict values
    cdef public bytes messages
    cdef readonly bint cautious
    cdef readonly bint large
