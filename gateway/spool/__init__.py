"""Stage 3: Readings -> Blocks that survive."""
