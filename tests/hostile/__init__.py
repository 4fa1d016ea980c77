"""Hostile traffic and hostile mirrors, on loopback."""
