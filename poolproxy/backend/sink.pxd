from poolproxy.pool.queue cimport Waiter
from poolproxy.session.parameters cimport ParameterSet, Reported
from poolproxy.session.pipeline cimport Step

cdef class Sink(Waiter):
    cdef public Reported told
    cdef public unsigned char holding
    cdef public unsigned char listening
    cdef public unsigned char awaiting
    cpdef bint write(self, buffer, Py_ssize_t start, Py_ssize_t end) except -1
    cpdef exchange_over(self, double now)
    cpdef assigned(self, tuple assignments)
    cpdef pinned(self, str reason)
    cpdef unpinned(self, str reason, double seconds)
    cpdef hold(self)
    cpdef let_go(self)
    cpdef notified(self, bytes message)
    cpdef bint took(self, frozenset channels, bint exact) except -1
    cpdef hear_out(self)
    cpdef tell_heard(self)
    cpdef unlistened(self)
    cpdef discarded(self)
    cpdef audited(self, ParameterSet parameters, str role)
    cpdef statement_failed(self, Py_ssize_t turn, int parses)
    cpdef step_completed(self, Step step)
    cpdef described_anew(self, Step step, bytes types, bytes shape)
    cpdef deallocated(self, bytes name)
    cpdef proceed(self)
    cpdef bint in_message(self) except -1
    cpdef detached(self, double now)
    cpdef server_drained(self)
    cpdef server_lost(self, bint told, refusal)
