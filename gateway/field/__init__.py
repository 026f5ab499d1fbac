"""Stage 1: devices -> Readings. One module or folder per protocol, pure planners and decoders beside thin I/O."""
