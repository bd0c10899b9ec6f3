"""Protocols in which the whole network is trained further."""
