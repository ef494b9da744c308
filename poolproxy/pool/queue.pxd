cimport cython

from poolproxy.session.parameters cimport ParameterSet
from poolproxy.transport.stream cimport Handler

cdef class Waiter(Handler):
    cdef public Waiter _ahead
    cdef public Waiter _behind
    cdef public int client_state
    cdef public int overtaken
    cdef public double waiting_since
    cdef public ParameterSet parameters
    cpdef granted(self, Member server)
    cpdef give_up(self, error)

cdef class Member(Handler):
    cdef public int server_state
    cdef public double born
    cdef public double expires
    cdef public double idle_since
    cdef public ParameterSet parameters
    cdef public str pin
    cdef public double pinned_at
    cdef public double rescue_until

cdef class Queue:
    cdef public Waiter first
    cdef public Waiter last
    cdef Py_ssize_t _length
    @cython.locals(waiter=Waiter, left=int)
    cpdef Waiter next_for(self, Member server, Waiter first)
    cpdef Py_ssize_t size(self) except -1
    cpdef push(self, Waiter waiter)
    cpdef remove(self, Waiter waiter)
