"""The watch: a node's own eyes on the mirrors of its state, apart from what the manager saw.

Promises: only what the watch itself sees takes a mirror out; a mirror is never asked more often
than its rhythm, whatever clients do; when everything seems dead the node doubts itself first.

Theory. A *line* is one way to a mirror: scheme and family. `machine` says what looks at one line
mean, `mirror` when a mirror's lines are looked at, `judge` what all mirrors together mean; these
three are pure. `look` asks one mirror once, `watch` runs it all.
"""

from heliostat.edge.watch.report import MirrorReport, WatchReport
from heliostat.edge.watch.settings import WatchSettings
from heliostat.edge.watch.targets import LineKey, Sought, WatchTarget, targets_of
from heliostat.edge.watch.watch import Watch

__all__ = [
    "LineKey",
    "MirrorReport",
    "Sought",
    "Watch",
    "WatchReport",
    "WatchSettings",
    "WatchTarget",
    "targets_of",
]
