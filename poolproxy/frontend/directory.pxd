cimport cython

from poolproxy.frontend.session cimport ClientSession

cdef Py_ssize_t FIRST_PID, LAST_PID, SHORT_KEY, LONG_KEY

cpdef bytes new_key(int minor)

cdef class Directory:
    cdef dict _clients
    @cython.locals(pid=Py_ssize_t)
    cpdef enlist(self, ClientSession client)
    @cython.locals(client=ClientSession)
    cpdef list silent_since(self, double moment)
    cpdef remove(self, ClientSession client)
