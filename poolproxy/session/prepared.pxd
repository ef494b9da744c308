from poolproxy.session.parameters cimport ParameterSet
from poolproxy.session.statements cimport Finding
from poolproxy.session.words cimport Words

cdef class Statement:
    cdef object __weakref__
    cdef readonly bytes name
    cdef readonly bytes body
    cdef readonly ParameterSet settings
    cdef public Finding finding
    cdef public Words words
    cdef readonly bint shared
    cdef public bint draws
    cdef public bint controls
    cdef public bytes types
    cdef public bytes shape

cdef class Epoch:
    cdef public Py_ssize_t value
    cdef public bint unsure
    cpdef advance(self)

cdef class Registry:
    cdef public Epoch epoch
    cdef Py_ssize_t _made
    cdef object _shared
    cpdef Statement shared(self, bytes body, ParameterSet parameters, Finding finding)
    cpdef Statement private(self, bytes body, ParameterSet parameters, Finding finding)
    cdef Statement _make(self, bytes body, ParameterSet settings, Finding finding, bint shared)

cdef class Held:
    cdef readonly Statement statement
    cdef public Py_ssize_t turn
    cdef public bint injected
    cdef public bint differs
    cdef public Py_ssize_t used

cdef class ServerStatements:
    cdef public Py_ssize_t limit
    cdef public list surplus
    cdef public set literal
    cdef public bint by_text
    cdef public Statement unparsable
    cdef dict _held
    cpdef Held find(self, Statement statement, Py_ssize_t turn)
    cpdef expect(self, Statement statement, Py_ssize_t turn, bint injected)
    cpdef confirm(self, Statement statement)
    cpdef bint described(self, Statement statement, bytes types, bytes shape) except -1
    cpdef failed(self, Statement statement)
    cpdef drop(self, Statement statement)
    cpdef drop_named(self, bytes name)
    cpdef discard(self, Statement statement)
    cpdef clear(self)
    cpdef bytes stand_in(self, bytes name)
    cpdef bint crowded(self, bint evict) except -1

cdef class _Pending:
    cdef readonly Statement statement
    cdef readonly Py_ssize_t turn
    cdef readonly bint certain

cdef class ClientStatements:
    cdef dict _named
    cdef dict _pending
    cdef dict _spoken
    cdef Py_ssize_t _forgetting
    cpdef Py_ssize_t size(self) except -1
    cpdef Statement find(self, bytes name, Py_ssize_t turn, Py_ssize_t answered)
    cpdef bint in_doubt(self, bytes name, Py_ssize_t turn) except -1
    cpdef speak(self, Statement statement, bytes name)
    cpdef expect(self, bytes name, Statement statement, Py_ssize_t turn, bint certain)
    cdef _outdate(self, bytes name, _Pending pending)
    cpdef expect_nothing(self, Py_ssize_t turn)
    cpdef confirm(self, bytes name, Statement statement)
    cpdef replace(self, bytes name, Statement old, Statement new)
    cpdef forget(self, bytes name)
    cdef _settled(self, bytes name, Statement statement)
    cpdef forget_all(self)
    cpdef detach(self)
