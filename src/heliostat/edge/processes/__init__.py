"""The edge's processes: a supervisor holds the ports, a steward looks after, workers serve."""
