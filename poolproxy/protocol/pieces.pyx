"""Cutting bytes and putting them together, each with one allocation: for what runs in every login.

A slice of Python's makes a slice object first, a partition a tuple and three copies. Must not know what the bytes mean.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t
from libc.string cimport memchr, memcpy

cdef extern from "arpa/inet.h" nogil:
    uint32_t htonl(uint32_t number)


cpdef bytes cut(bytes data, Py_ssize_t start, Py_ssize_t end):
    """data[start:end]; IndexError unless 0 <= start <= end <= len(data)."""
    if not 0 <= start <= end <= PyBytes_GET_SIZE(data):
        raise IndexError(f"no bytes {start} to {end} in {PyBytes_GET_SIZE(data)}")
    return PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + start, end - start)


cpdef Py_ssize_t find(bytes data, int byte, Py_ssize_t start) except -2:
    """Where `byte` (0 to 255) is, from `start` on; -1 where it is not."""
    cdef const char *begin = PyBytes_AS_STRING(data)
    cdef const char *found
    if not 0 <= start <= PyBytes_GET_SIZE(data):
        raise IndexError(f"no byte {start} in {PyBytes_GET_SIZE(data)}")
    found = <const char *>memchr(begin + start, byte, PyBytes_GET_SIZE(data) - start)
    return -1 if found is NULL else found - begin


cpdef bytes numbered_message(int kind, int number, bytes data):
    """A message of an Int32 and bytes: type letter, length, number, data."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef bytes whole = PyBytes_FromStringAndSize(NULL, size + 9)
    cdef char *target = PyBytes_AS_STRING(whole)
    cdef uint32_t length = htonl(<uint32_t>(size + 8))
    cdef uint32_t on_the_wire = htonl(<uint32_t>number)
    target[0] = <char>kind
    memcpy(target + 1, &length, 4)
    memcpy(target + 5, &on_the_wire, 4)
    memcpy(target + 9, PyBytes_AS_STRING(data), size)
    return whole


cpdef bytes head(int kind, Py_ssize_t length, bytes names):
    """How a message begins: type letter, length (as it is on the wire), and the strings it begins with."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(names)
    cdef bytes whole = PyBytes_FromStringAndSize(NULL, size + 5)
    cdef char *target = PyBytes_AS_STRING(whole)
    cdef uint32_t on_the_wire = htonl(<uint32_t>length)
    target[0] = <char>kind
    memcpy(target + 1, &on_the_wire, 4)
    memcpy(target + 5, PyBytes_AS_STRING(names), size)
    return whole


cpdef bytes xor(bytes left, bytes right):
    """Byte by byte; ValueError where the lengths differ."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(left)
    if size != PyBytes_GET_SIZE(right):
        raise ValueError("both sides of an exclusive or have the same length")
    cdef bytes mixed = PyBytes_FromStringAndSize(NULL, size)
    cdef char *target = PyBytes_AS_STRING(mixed)
    cdef Py_ssize_t index
    for index in range(size):
        target[index] = PyBytes_AS_STRING(left)[index] ^ PyBytes_AS_STRING(right)[index]
    return mixed
