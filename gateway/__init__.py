"""Edge gateway: polls field devices, compresses at the edge, delivers over MQTT, loses nothing silently."""

__version__ = "0.1.0"
