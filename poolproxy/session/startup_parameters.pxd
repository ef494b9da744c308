from poolproxy.session.parameters cimport ParameterSet

cdef class Wanted:
    cdef public ParameterSet parameters
    cdef public tuple at_start

cdef Wanted NOTHING_WANTED

cpdef Wanted wanted_parameters(dict startup)
