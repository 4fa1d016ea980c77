"""What the edge's benchmarks share: the world, the servers, the loads, the rounds.

Promises: servers run on core 0 and loads on core 1, all on loopback; whatever happens to a
benchmark, also SIGKILL, none of its servers outlives it.
"""
