"""Stage 4: Blocks -> broker, commands <- broker."""
