"""Numba kernels, one family per file. They import only numpy, numba and math."""
