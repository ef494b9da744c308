cimport cython

from poolproxy.backend.parsing cimport ParsingServer
from poolproxy.session.pipeline cimport Pipeline

cdef int STATUS_IDLE, SERVER_RESETTING

cdef class ReturningServer(ParsingServer):
    @cython.locals(pipeline=Pipeline)
    cpdef abandon(self, bint partial, bint vanished)
    cdef _end_batch(self)
    cdef _leave_to_end(self, str reason, bint partial)
    cdef _end_copy(self)
    cpdef clean_up(self)
    cpdef hand_over(self)
    cdef _release(self, double now)
