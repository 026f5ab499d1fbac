"""What every stage uses and that knows no stage: supervise, ticks, clock, systemd, counters, settings, status."""
