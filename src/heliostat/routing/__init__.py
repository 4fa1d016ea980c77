"""Who should serve whom: cost, candidates, shares, decide, explain.

Promises: pure. No clock, no network, no random source that is not handed in.
"""
