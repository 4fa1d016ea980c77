"""Counts: what the edge sent where, added up beside the work of sending it.

Promises: nothing here slows, stops or harms an answer. What can't be kept (a full disk, a steward
that is away, a frame that is none) is dropped, and the drop is counted.

Theory. A worker only appends numbers to two lists (`tally`) and packs them once a second
(`frame`). The steward adds them up with numpy (`collector`): totals for /metrics (`totals`,
`metrics`), downloads by (minute, file, country, mirror) for the spool on disk (`pending`, `block`,
`segment`, `spool`), repeats by mirror (`repeats`), lines of the access log (`entries`,
`accesslog`). What waits for a disk runs in a thread of its own (`background`).
"""
