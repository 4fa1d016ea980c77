"""The words of the project as frozen values.

Promises: no I/O, no clock, no import of any other room. Every number's name carries its unit
(`size_bytes`, `cost_ms`); every time is an aware UTC datetime or seconds since 1970 (`_s`).
"""
