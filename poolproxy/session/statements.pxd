cimport cython

from poolproxy.session.words cimport Lead, Words

cdef bytes CLASS, IN_NAME, IN_WORD
cdef list LEADS_BY_HASH
cdef dict ANYWHERE
cdef int WORD, MARK
cdef int CONTROL, ASSIGNMENT, SUSPECT
cdef int OTHER, DATA, DECLARE, EXPLAIN, WITH
cdef Lead UNKNOWN

cdef class Finding:
    cdef public str reason
    cdef public tuple assignments
    cdef public tuple forgets
    cdef public bint local
    cdef public bint ends
    cdef public bint sequence
    cdef public tuple custom
    cdef public tuple channels
    cdef public tuple databases
    cdef public bint resets_role
    cdef public bint buffers
    cdef public bint unlistens
    cdef public bint notifies
    cdef public bint prepares
    cdef public bint mentions
    cpdef bint remarkable(self)

cdef class Scanner:
    cdef public bint cautious
    cdef public bint controls
    cdef public bint writes
    cdef bint _ends
    cdef bint _sequence
    cdef bint _names
    cdef bint _listens
    cdef bint _unlistens
    cdef bint _notifies
    cdef bint _prepares
    cdef bint _mentions
    cdef public Words words
    cdef bytes _sieve
    cdef str _reason
    cdef int _lead
    cdef Py_ssize_t _previous
    cdef bint _first
    cdef bint _assigning
    cdef bint _escaped
    cdef list _starts

    @cython.locals(kind=int, finding=Finding, begin=Py_ssize_t, data=cython.p_uchar, classes=cython.p_uchar)
    cpdef Finding look(self, bytearray text, Py_ssize_t position, Py_ssize_t end)
    @cython.locals(start=Py_ssize_t, value=Py_ssize_t, data=cython.p_uchar, in_word=cython.p_uchar)
    cdef Py_ssize_t _take_word(self, bytearray text, Py_ssize_t position, Py_ssize_t end) except -1
    @cython.locals(byte=int, following=int, found=Py_ssize_t, tag_end=Py_ssize_t)
    cdef Py_ssize_t _take_mark(self, bytearray text, Py_ssize_t position, Py_ssize_t end) except -1
    @cython.locals(start=Py_ssize_t)
    cdef Py_ssize_t _take_string(self, bytearray text, Py_ssize_t position, Py_ssize_t end, bint escaped) except -1
    @cython.locals(start=Py_ssize_t, value=Py_ssize_t, data=cython.p_uchar, in_name=cython.p_uchar)
    cdef Py_ssize_t _take_name(self, bytearray text, Py_ssize_t position, Py_ssize_t end) except -1
    @cython.locals(found=Py_ssize_t)
    cdef Py_ssize_t _take_until(self, bytearray text, Py_ssize_t position, Py_ssize_t end, bytes closing) except -1
    @cython.locals(start=Py_ssize_t, depth=int)
    cdef Py_ssize_t _take_comment(self, bytearray text, Py_ssize_t position, Py_ssize_t end) except -1
    @cython.locals(start=Py_ssize_t, value=Py_ssize_t, data=cython.p_uchar, in_name=cython.p_uchar)
    cdef Py_ssize_t _take_words(self, bytearray text, Py_ssize_t position, Py_ssize_t end) except -1
    cdef _begin_statement(self, bytearray text, Py_ssize_t start, Py_ssize_t end, Lead lead)
    cdef _word(self, bytearray text, Py_ssize_t start, Py_ssize_t end, bint code)
    cdef _note(self, str reason)
    cdef Finding _tracked(self, bytearray text, Py_ssize_t end)

@cython.locals(start=Py_ssize_t)
cdef Py_ssize_t _dollar_tag_end(bytearray text, Py_ssize_t position, Py_ssize_t end) except -1

@cython.locals(index=Py_ssize_t)
cdef bint _is_word(bytearray text, Py_ssize_t start, Py_ssize_t end, bytes word) except -1
cdef Py_ssize_t _line_end(bytearray text, Py_ssize_t position, Py_ssize_t end) except -1
