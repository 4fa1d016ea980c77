"""Heliostat sends every download of an open-source project to the best of its mirrors."""

__version__ = "0.1.0"
