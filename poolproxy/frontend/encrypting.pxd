from poolproxy.transport.client_hello cimport ClientHello
from poolproxy.transport.handshake cimport Accepting, Cost, Handshake

cdef bytes _ALPN

cdef class Encryption:
    cdef object _tls
    cdef readonly str server_name
    cdef readonly bytes end_point

cdef class ClientEncryption:
    cdef public object tls
    cdef public object workers
    cdef public object handshakes
    cdef object _context
    cdef Cost _cost
    cdef readonly bint required
    cdef bint _certified
    cdef bint _named
    cdef dict _hostnames
