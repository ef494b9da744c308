cimport cython

from poolproxy.counters cimport PoolCounters

cdef class Waiter:
    cdef public int client_state
    cdef public double waiting_since
    cpdef granted(self, Member server)

cdef class Member:
    cdef public int server_state
    cdef public double born
    cdef public double expires
    cdef public double idle_since
    cdef public str pin
    cdef public double pinned_at
    cdef public double rescue_until

cdef class Pool:
    cdef public object route
    cdef public object on_need
    cdef public PoolCounters counters
    cdef public list idle
    cdef public set active
    cdef public set resetting
    cdef public int connecting
    cdef public object waiting
    cdef public list client_counts
    cdef public dict pins
    cdef public bint up
    cdef public str down_reason
    cdef public object baseline
    cdef public object reported
    cdef public dict greetings

    cpdef int size(self) except -1
    @cython.locals(old=int)
    cpdef move_client(self, Waiter client, int state)
    @cython.locals(server=Member)
    cpdef Member borrow(self, Waiter client, double now)
    @cython.locals(old=int)
    cpdef move_server(self, Member server, int state)
    cpdef release(self, Member server, double now)
    @cython.locals(server=Member, client=Waiter)
    cpdef serve(self, double now)
    cpdef close_server(self, Member server)
    cpdef int missing(self) except -1
    cpdef pinned(self, Member server, str reason, double now)
    cpdef unpinned(self, Member server, double now)
