cimport cython

from poolproxy.session.prepared cimport Statement

cdef int STATUS_IDLE

@cython.final
cdef class Step:
    cdef readonly int kind
    cdef readonly bint own
    cdef readonly Statement statement
    cdef readonly bytes name
    cdef readonly bytes answer
    cdef public int ordinal

@cython.final
cdef class Unit:
    cdef public bint batch
    cdef public bint skip
    cdef public int copy_ends
    cdef public tuple assignments
    cdef public list steps

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
    cdef public int binds
    cdef public int executes
    cdef public bint controls
    cdef public int parses_seen
    cdef public tuple batch_assignments
    cdef public list steps
    cdef public Py_ssize_t steps_seen
    cdef public Step border
    cdef public int closes
    cdef public int closes_seen

    cpdef Py_ssize_t owed(self) except -1
    @cython.locals(index=Py_ssize_t, unit=Unit)
    cpdef bint owes_client(self) except -1
    cpdef Py_ssize_t turn(self) except -1
    cpdef bint quiet(self) except -1
    cpdef bint idle(self) except -1
    cpdef bint doomed(self) except -1
    cpdef bint settled(self) except -1
    cpdef bint divisible(self) except -1
    cpdef bint asked(self) except -1
    cpdef skip_query(self)
    @cython.locals(unit=Unit)
    cpdef skip_batch(self, list steps)
    @cython.locals(unit=Unit)
    cpdef query(self, tuple assignments)
    cpdef extended(self)
    cpdef parse(self, tuple assignments)
    cpdef close(self)
    cpdef expect(self, Step step)
    cpdef ask(self)
    cpdef bind(self)
    cpdef execute(self)
    cpdef early_copy_data(self)
    cpdef bint certain(self) except -1
    @cython.locals(unit=Unit)
    cpdef sync(self)
    cdef _hand_over(self, Unit unit)
    cdef _end_batch(self)
    cpdef copy_ended(self)
    @cython.locals(unit=Unit)
    cpdef bint skipping(self) except -1
    @cython.locals(step=Step, ordinal=int)
    cpdef Step complete(self, int kind)
    @cython.locals(steps=list)
    cpdef Step next_step(self)
    cpdef list steps_left(self)
    @cython.locals(unit=Unit)
    cdef list _answering(self)
    cdef _begin_answering(self)
    cpdef error(self, bint certain)
    cpdef copy_in(self)
    @cython.locals(unit=Unit)
    cpdef Unit ready(self, int status)
