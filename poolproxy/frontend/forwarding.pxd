from poolproxy.backend.server cimport Server
from poolproxy.frontend.client_session cimport ClientSession
from poolproxy.transport.stream cimport Stream

cdef Py_ssize_t GATHERED

cdef class ForwardingClient(ClientSession):
    cdef _forward(self, Server server, bytearray buffer, Py_ssize_t start, Py_ssize_t end)
    cdef _gather(self, Server server, bytearray buffer, Py_ssize_t start, Py_ssize_t end)
    cdef _gather_behind(self, Server server, bytearray buffer, Py_ssize_t start, Py_ssize_t end, Py_ssize_t ahead)
    cdef _stop(self, Server server, Py_ssize_t position, Py_ssize_t end)
    cdef _give_back(self, Server server)
