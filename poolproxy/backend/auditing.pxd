from poolproxy.backend.returning cimport ReturningServer
from poolproxy.backend.sink cimport Sink

cdef class AuditedServer(ReturningServer):
    cpdef suspect(self, str reason)
    cpdef bint auditable(self) except -1
    cpdef bint discardable(self) except -1
    cpdef discarded(self)
    cpdef audit(self)
    cpdef _ask(self)
    cdef _audit_over(self)
    cpdef hear_first(self)
    cdef _listen_no_more(self, found, set left)
    cdef _say_ready(self)
    cdef _hold_to(self, found)
    cdef _close_literal(self)
    cpdef audit_again(self, double now)
