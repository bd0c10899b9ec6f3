"""Protocols in which the whole network goes on learning."""
