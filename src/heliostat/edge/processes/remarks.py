"""What a person should know of this node: the lines below the health text, and in the log.

Health detail is public and read by machines: few lines, each a sentence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from heliostat.edge.counts.repeats import Suspicion
from heliostat.edge.tls import DAY_S, Certificate
from heliostat.state.opened import State

log = structlog.get_logger()

LINES: Final = 20
"""Of the detail, all in all."""

SUSPICION_LINES: Final = 5
"""Of mirrors that clients come back from; the metrics name all."""

STATE_OLD_S: Final = 26 * 3600.0
"""A state is told to be old from here on: a day, and time for one that is published daily."""


STATE_ALARM_S: Final = 7 * DAY_S
"""From here on it is an alarm: nobody has noticed for a week."""

STATE_VALID_S: Final = 60 * DAY_S
"""As long as a publication's signatures are valid (`heliostat.state.sign.VALID`; a test compares):
an edge that has none takes no older one."""


def state_remark(state: State | None, now_s: float) -> list[str]:
    """A line when the state is old; by its signed time of publication."""
    if state is None:
        return []
    age_s = now_s - state.published_at.timestamp()
    if age_s < STATE_OLD_S:
        return []
    when = state.published_at.astimezone(UTC)
    days = int(age_s // DAY_S)
    if age_s < STATE_ALARM_S:
        end = "see whether the manager publishes"
    elif age_s < STATE_VALID_S:
        end = f"an edge that loses it gets none from {int(STATE_VALID_S - age_s) // 86400} days on"
    else:
        end = "an edge that loses it gets none any more until the manager publishes"
    return [
        f"the state is {days} {'day' if days == 1 else 'days'} old (published"
        f" {when:%Y-%m-%d %H:%M} UTC); serving goes on; {end}"
    ]


def is_alarming(state: State | None, now_s: float) -> bool:
    """Whether a state is so old that it is logged as an error."""
    return state is not None and now_s - state.published_at.timestamp() >= STATE_ALARM_S


def suspicion_remarks(suspicions: Sequence[Suspicion]) -> list[str]:
    """The most conspicuous mirrors, the worst first."""
    worst = sorted(suspicions, key=lambda one: (one.p, one.mirror))
    lines = [str(one) for one in worst[:SUSPICION_LINES]]
    if len(worst) > SUSPICION_LINES:
        lines.append(f"the same of {len(worst) - SUSPICION_LINES} more mirrors, see /metrics")
    return lines


class DailyAlarm:
    """Logs a remark once a day for as long as it holds."""

    def __init__(self) -> None:
        self._logged_on: int | None = None

    def tick(
        self,
        lines: Iterable[str],
        now_s: float,
        *,
        is_news: bool = False,
        is_alarm: bool = False,
        **fields: str,
    ) -> None:
        """`is_news`: the same day again, because something has changed. `fields` go with it."""
        lines = list(lines)
        today = datetime.fromtimestamp(now_s, UTC).toordinal()
        if lines and (is_news or today != self._logged_on):
            self._logged_on = today
            for line in lines:
                (log.error if is_alarm else log.warning)(line, **fields)


class CertificateEye:
    """Looks whether the certificate's files changed. Workers look by themselves; we tell people."""

    def __init__(self, certificate: Certificate | None) -> None:
        self._certificate = certificate
        self._alarm = DailyAlarm()
        self.refusals = 0

    def look(self, now_s: float) -> None:
        certificate = self._certificate
        if certificate is None:
            return
        found = certificate.check()
        if found is False:
            self.refusals += 1
            log.error("new certificate refused, the old one stays", reason=certificate.fault)
        elif found:
            log.info("new certificate in use", ends_at_s=int(certificate.ends_at_s))
        file = str(certificate.files[0])
        self._alarm.tick(self.detail(now_s), now_s, is_news=bool(found), certificate=file)

    def detail(self, now_s: float) -> list[str]:
        return self._certificate.detail(now_s) if self._certificate is not None else []
