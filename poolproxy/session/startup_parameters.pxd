cpdef wanted_parameters(dict startup)
