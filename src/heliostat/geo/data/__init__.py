"""The built-in places and the licences they are under; data only."""
