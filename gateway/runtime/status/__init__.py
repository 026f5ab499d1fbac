"""The status server: page, health, metrics and a read-only API over HTTP."""
