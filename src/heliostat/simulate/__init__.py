"""Looks ahead: a year of demand through the real routing, solver and accounting, in minutes."""
