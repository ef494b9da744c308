cimport cython

from poolproxy.counters cimport PoolCounters
from poolproxy.pool.pool cimport Pool
from poolproxy.pool.queue cimport Member, Waiter
from poolproxy.protocol.framing cimport Framer
from poolproxy.session.parameters cimport ParameterSet, Reported
from poolproxy.session.pipeline cimport Pipeline, Unit
from poolproxy.transport.stream cimport Stream

cdef int STATUS_IDLE
cdef int NOTHING, PARTIAL
cdef int READY_FOR_QUERY, ERROR_RESPONSE, NOTICE_RESPONSE, PARAMETER_STATUS, NOTIFICATION_RESPONSE, PARSE_COMPLETE, CLOSE_COMPLETE, DATA_ROW
cdef int COPY_IN_RESPONSE
cdef int SERVER_CLOSED, SERVER_IDLE, SERVER_RESETTING
cdef Py_ssize_t KEEP_LIMIT
cdef bytes _STOPS, _STOPS_ALL

cdef class Sink(Waiter):
    cdef public Reported told
    cdef public bint holding
    cpdef bint write(self, buffer, Py_ssize_t start, Py_ssize_t end) except -1
    cpdef exchange_over(self, double now)
    cpdef assigned(self, tuple assignments, reported)
    cpdef statement_failed(self, Py_ssize_t turn, int parses)
    cpdef bint in_message(self) except -1
    cpdef detached(self, double now)
    cpdef server_drained(self)
    cpdef server_lost(self, bint told, refusal)

cdef class Server(Member):
    cdef public Pool pool
    cdef public Stream stream
    cdef public object pid
    cdef public bytes key
    cdef public object on_closed
    cdef public Sink sink
    cdef public Pipeline pipeline
    cdef public Framer framer
    cdef public ParameterSet parameters
    cdef public Reported reported
    cdef public Waiter unnamed_owner
    cdef public object refusal
    cdef public int cancelling
    cdef public bint rescue_cancelled
    cdef public double exchange_at
    cdef public double transaction_at
    cdef object _errands
    cdef list _rows
    cdef bint _fatal
    cdef bint _ended

    cpdef attach(self, Sink sink, double now)
    cpdef began(self, double now)
    cpdef bytes replace_unnamed(self, Waiter owner, bytes parse)
    cpdef bytes settle(self, wanted)
    cpdef ask(self, bytes sql, done)
    @cython.locals(framer=Framer, pipeline=Pipeline, start=Py_ssize_t, position=Py_ssize_t, following=Py_ssize_t, kind=int, skipping=bint)
    cpdef on_data(self, bytearray buffer, Py_ssize_t end)
    cdef bint _unowed(self) except -1
    cdef _forward(self, bytearray buffer, Py_ssize_t start, Py_ssize_t end, bint skipping)
    cdef _own_ready(self, int status)
    @cython.locals(pipeline=Pipeline, counters=PoolCounters, unit=Unit, sink=Sink, before=int, failed=bint, now=double)
    cdef Py_ssize_t _client_ready(self, bytearray buffer, Py_ssize_t start, Py_ssize_t position, Py_ssize_t following) except -1
    cdef _tell(self, Sink sink)
    cdef _assigned(self, Unit unit, int before)
    cdef _error(self, bytearray buffer, Py_ssize_t position, Py_ssize_t following, bint skipping)
    cdef _parameter_status(self, bytes body)
    @cython.locals(pipeline=Pipeline, sink=Sink)
    cpdef review(self)
    @cython.locals(sink=Sink, now=double)
    cpdef detach(self)
    cdef _release(self, double now)
    cpdef cancel_over(self)
    cpdef pin_down(self, str reason)
    cpdef abandon(self, bint partial)
    cdef _clean_up(self)
    cpdef close(self, str reason)
