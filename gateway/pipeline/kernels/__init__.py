"""The inner loops, one family per file; each calls only functions of its own file, since the cache sees no others.

Shapes all kernels share, n rows in and N slots (tags that have the step):
tag u4[n], time_ns i8[n], value f8[n], quality u1[n]: the columns of a Readings, contiguous and writable
slot i4[tags]: the slot of each tag, -1 where it doesn't have the step; tag numbers are below its length
real f8[fields, N], whole i8[fields, N]: parameters and state, a row per field
"""
