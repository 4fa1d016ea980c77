"""Jobs: who scans which mirror now, on which machine, how far it is, and what waits."""
