cimport cython

from poolproxy.counters cimport PoolCounters
from poolproxy.pool.queue cimport Member, Queue, Waiter
from poolproxy.session.prepared cimport Registry
from poolproxy.session.words cimport Words

cdef bytes CLIENT_TABLE, SERVER_TABLE
cdef int CLIENT_ACTIVE, CLIENT_IDLE, CLIENT_WAITING
cdef int SERVER_ACTIVE, SERVER_CLOSED, SERVER_CONNECTING, SERVER_IDLE, SERVER_RESETTING

@cython.final
cdef class Pool:
    cdef public object route
    cdef public object on_need
    cdef public object spare
    cdef public PoolCounters counters
    cdef public list idle
    cdef public set servers
    cdef public set idlers
    cdef public Py_ssize_t server_counts[5]
    cdef public int connecting
    cdef public int returning
    cdef public Py_ssize_t statements
    cdef public Registry registry
    cdef public object hub
    cdef public object vacate
    cdef public Queue waiting
    cdef public Py_ssize_t client_counts[5]
    cdef public dict pins
    cdef public bint up
    cdef public bint session_mode
    cdef public bint always_reset
    cdef public bint sequences_asked
    cdef public object custom_names
    cdef public object spellings
    cdef public Words words
    cdef public Py_ssize_t pool_size
    cdef public bint impatient
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
    @cython.locals(server=Member, other=Member, count=Py_ssize_t, index=Py_ssize_t)
    cdef Member _idle_for(self, Waiter client)
    cdef _grant(self, Member server, Waiter client, double now)
    cpdef close_server(self, Member server)
    cpdef bint crowded(self) except -1
    cpdef int missing(self) except -1
    cpdef Py_ssize_t number_statement(self) except -1
    cpdef pinned(self, Member server, str reason, double now)
    cpdef unpinned(self, Member server, double now)
