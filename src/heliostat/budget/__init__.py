"""Scarce bytes: demand foreseen, prices that spread it, allowances, what providers say.

Promises: no Django, no state, no clock that isn't handed in; only `providers` meets the network.
"""
