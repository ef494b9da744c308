cimport cython

from poolproxy.backend.auditing cimport AuditedServer
from poolproxy.backend.sink cimport Sink
from poolproxy.counters cimport PoolCounters
from poolproxy.protocol.framing cimport Framer
from poolproxy.session.pipeline cimport Pipeline, Step, Unit
from poolproxy.transport.stream cimport Stream

cdef int STATUS_IDLE
cdef int NOTHING, PARTIAL
cdef int READY_FOR_QUERY, ERROR_RESPONSE, NOTICE_RESPONSE, PARAMETER_STATUS, NOTIFICATION_RESPONSE
cdef int PARSE_COMPLETE, CLOSE_COMPLETE, BIND_COMPLETE, DATA_ROW, COPY_IN_RESPONSE
cdef int ROW_DESCRIPTION, NO_DATA, PARAMETER_DESCRIPTION, COMMAND_COMPLETE
cdef int CLOSED, DESCRIBED, PARSED
cdef int SERVER_CLOSED, SERVER_RESETTING
cdef Py_ssize_t KEEP_LIMIT, MAX_KEPT
cdef bytes STOPS, STOPS_ALL, STOPS_CLOSELY

cdef class Server(AuditedServer):
    cpdef attach(self, Sink sink, double now)
    cpdef began(self, double now)
    @cython.locals(framer=Framer, start=Py_ssize_t, position=Py_ssize_t, following=Py_ssize_t, kind=int)
    cpdef on_data(self, bytearray buffer, Py_ssize_t end)
    cdef Py_ssize_t _too_large(self, int kind, Py_ssize_t position, Py_ssize_t end) except -1
    @cython.locals(pipeline=Pipeline, skipping=bint, mine=bint, step=Step)
    cdef Py_ssize_t _message(self, int kind, bytearray buffer, Py_ssize_t start, Py_ssize_t position, Py_ssize_t following) except -1
    cdef _replace(self, bytearray buffer, Py_ssize_t start, Py_ssize_t position, bytes message)
    cdef _copy_in(self)
    cdef bint _unowed(self) except -1
    cdef _forward(self, bytearray buffer, Py_ssize_t start, Py_ssize_t end)
    cdef _pass_on(self, bytearray buffer, Py_ssize_t start, Py_ssize_t end)
    cdef _own_ready(self, int status)
    @cython.locals(pipeline=Pipeline, counters=PoolCounters, unit=Unit, sink=Sink, before=int, failed=bint, listening=bint, now=double)
    cdef Py_ssize_t _client_ready(self, bytearray buffer, Py_ssize_t start, Py_ssize_t position, Py_ssize_t following) except -1
    cdef _assigned(self, Unit unit, int before)
    cdef bytes _error(self, bytearray buffer, Py_ssize_t position, Py_ssize_t following, bint skipping)
    cdef _notified(self, bytes message)
    cdef _parameter_status(self, bytes body)
    @cython.locals(pipeline=Pipeline, sink=Sink)
    cpdef review(self)
    @cython.locals(sink=Sink, now=double)
    cpdef detach(self)
    cpdef heard(self)
    cpdef cancel_over(self)
    cpdef on_drained(self)
