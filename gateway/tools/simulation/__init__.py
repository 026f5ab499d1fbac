"""Devices that do not exist: register images, protocol servers on loopback and pseudo terminals, a welding cell."""
