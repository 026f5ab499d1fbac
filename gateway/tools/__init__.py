"""What people run beside the daemon."""
