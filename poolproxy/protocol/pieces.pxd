cpdef bytes cut(bytes data, Py_ssize_t start, Py_ssize_t end)
cpdef Py_ssize_t find(bytes data, int byte, Py_ssize_t start) except -2
cpdef bytes numbered_message(int kind, int number, bytes data)
cpdef bytes head(int kind, Py_ssize_t length, bytes names)
cpdef bytes xor(bytes left, bytes right)
