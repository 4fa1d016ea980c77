"""What a mirror really has: liveness, and scans of what it holds.

Promises: knows no database; takes and gives model values. A mirror's fault is a value with one
clear sentence, never an exception: one bad mirror doesn't end a run. Everything it reads from a
mirror has a bound in bytes, entries and time (`heliostat.probe.limits`).
"""
