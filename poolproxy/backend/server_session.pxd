cimport cython

from poolproxy.backend.sink cimport Sink
from poolproxy.pool.pool cimport Pool
from poolproxy.pool.queue cimport Member
from poolproxy.protocol.framing cimport Framer
from poolproxy.session.parameters cimport ParameterSet, Reported
from poolproxy.session.pipeline cimport Pipeline, Step
from poolproxy.session.prepared cimport ServerStatements, Statement
from poolproxy.transport.stream cimport Stream

cdef int STATUS_IDLE
cdef int SERVER_CLOSED, SERVER_IDLE, SERVER_RESETTING

cdef class ServerSession(Member):
    cdef public Pool pool
    cdef public Stream stream
    cdef public object pid
    cdef public bytes key
    cdef public object on_closed
    cdef public Sink sink
    cdef public Pipeline pipeline
    cdef public Framer framer
    cdef public Reported reported
    cdef public Reported origin
    cdef public bint suspected
    cdef public bint auditing
    cdef public bint discarding
    cdef public bint ready_kept
    cdef public bint fencing
    cdef public bint listens
    cdef public bint lent
    cdef public list unclaimed
    cdef public Py_ssize_t unclaimed_bytes
    cdef public double audited_at
    cdef public double audit_pause
    cdef public Sink dirty
    cdef public bint reset_due
    cdef public int returning
    cdef public bint own_draws
    cdef public Py_ssize_t unnamed_number
    cdef public ServerStatements prepared
    cdef public list forgets
    cdef public bint forgotten
    cdef public int swallowing
    cdef public bint changing_schema
    cdef Step _describing
    cdef bytes _types
    cdef public object refusal
    cdef public int cancelling
    cdef public bint rescue_cancelled
    cdef public bint ending_batch
    cdef public int restoring
    cdef public double exchange_at
    cdef public double transaction_at
    cdef object _errands
    cdef list _rows
    cdef Py_ssize_t _rows_left
    cdef bint _fatal
    cdef bint _ended

    @cython.locals(count=int)
    cpdef bytes settle(self, ParameterSet wanted)
    cdef tuple _turn_into(self, ParameterSet wanted, bint guarded)
    cpdef tell(self, Sink sink)
    cpdef bytes forget_sequences(self)
    cdef bytes _insert(self, Statement mark, bytes text)
    cpdef bytes lend(self, frozenset channels, str encoding)
    cpdef ask(self, bytes sql, done)
    cpdef changes_schema(self)
    cdef _expect_own(self)
    cpdef pin_down(self, str reason)
    cdef _return(self, int count)
    cpdef close(self, str reason)
    cpdef on_lost(self, str reason)
    cpdef fail(self, error)
    cpdef _out_of_sync(self, str what)
