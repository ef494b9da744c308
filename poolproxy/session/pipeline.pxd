cimport cython

cdef int STATUS_IDLE

@cython.final
cdef class Unit:
    cdef public bint batch
    cdef public bint skip
    cdef public int copy_ends
    cdef public tuple assignments
    cdef public list own_parses
    cdef public list own_closes

cdef Unit _QUERY, _BATCH, _SKIP

@cython.final
cdef class Pipeline:
    cdef list _units
    cdef Py_ssize_t _head
    cdef public int status
    cdef public Py_ssize_t answered
    cdef public bint open
    cdef public bint failed
    cdef public bint copying_in
    cdef public bint swallowed
    cdef public bint unclear
    cdef public bint hasty
    cdef public bint early_bind
    cdef public int copy_ends
    cdef public int early_copy_ends
    cdef public int parses
    cdef public int executes
    cdef public int parses_seen
    cdef public tuple batch_assignments
    cdef public list own_parses
    cdef public list own_closes
    cdef public int closes
    cdef public int closes_seen

    cpdef Py_ssize_t owed(self) except -1
    cpdef Py_ssize_t turn(self) except -1
    cpdef bint quiet(self) except -1
    cpdef bint idle(self) except -1
    cpdef bint settled(self) except -1
    cpdef skip_query(self)
    @cython.locals(unit=Unit)
    cpdef query(self, tuple assignments)
    cpdef extended(self)
    cpdef parse(self, tuple assignments)
    cpdef injected_parse(self)
    cpdef close(self)
    cpdef injected_close(self)
    cpdef bind(self)
    cpdef early_copy_data(self)
    cpdef bint certain(self) except -1
    @cython.locals(unit=Unit)
    cpdef sync(self)
    cdef _hand_over(self, Unit unit)
    cdef _end_batch(self)
    cpdef copy_ended(self)
    @cython.locals(unit=Unit)
    cpdef bint skipping(self) except -1
    @cython.locals(unit=Unit, own=list)
    cpdef bint parse_complete(self) except -1
    @cython.locals(unit=Unit, own=list)
    cpdef bint close_complete(self) except -1
    cpdef error(self, bint certain)
    cpdef copy_in(self)
    @cython.locals(unit=Unit)
    cpdef Unit ready(self, int status)
