from poolproxy.transport.poller cimport Pollable, Poller

cdef class Handler:
    cpdef on_data(self, bytearray buffer, Py_ssize_t end)
    cpdef on_drained(self)
    cpdef on_lost(self, str reason)
    cpdef fail(self, error)

cdef class Stream(Pollable):
    cdef public Handler handler
    cdef bytes _kept
    cdef bytearray _backlog
    cdef str _lost
    cdef Py_ssize_t _flushed
    cdef readonly Py_ssize_t backlog
    cdef Py_ssize_t _discarded
    cdef Py_ssize_t _flow
    cdef int _missed
    # Bytes, not bints: there are thousands of streams.
    cdef readonly unsigned char paused
    cdef readonly unsigned char paced
    cdef public unsigned char eager
    cdef unsigned char _readable
    cdef unsigned char _more
    cdef unsigned char _replay
    cdef unsigned char _hangup
    cdef unsigned char _finishing
    cdef unsigned char _broken
    cdef unsigned int _interest(self)
    cdef int _pace(self, ssize_t count) except -1
    cdef int _end_pace(self) except -1
    cdef Handler _owner(self)
    cdef int _deliver(self, Py_ssize_t end) except -1
    cdef ssize_t _receive(self, char *data, Py_ssize_t size) except -2
    cdef int _read(self) except -1
    cdef int _deliver_kept(self) except -1
    cdef int _flush(self) except -1
    cdef int _break(self, int error) except -1
    cdef int _part(self) except -1
    cdef int _discard(self) except -1
    cdef int _take_over(self, Stream other) except -1
    cpdef bint write(self, object data, Py_ssize_t start, Py_ssize_t end) except -1
    cpdef send(self, bytes data)
    cpdef keep(self, Py_ssize_t start, Py_ssize_t end)
    cpdef bytes copy(self, Py_ssize_t start, Py_ssize_t end)
    cpdef calm(self)
    cpdef pause(self)
    cpdef look(self)
    cpdef resume(self)
    cpdef close(self)
    cpdef finish(self)
