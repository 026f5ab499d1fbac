"""Stage 2: Readings -> fewer Readings. Steps are numba kernels over a whole poll."""
