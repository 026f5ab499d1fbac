"""Readings <-> bytes, lossless; used by the spool and the columns payload."""
