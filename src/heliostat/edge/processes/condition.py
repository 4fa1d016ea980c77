"""Says to the manager how this node is, every few seconds, and hears whether it is to be drained.

Promises: nothing is done but what the answer can say (drained, or not drained by the manager); a
manager that is away, or answers with nonsense, changes nothing. The form is
`heliostat.manager.reports.form.Condition`. The answer brings allowances, too: it comes to who holds
this node's token, and says that the report has come.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from heliostat.edge.allowances.exchange import Exchange
from heliostat.edge.allowances.form import MAX_ANSWER_BYTES
from heliostat.edge.processes.post import LONGEST_PAUSE_S, Answer, Post, ReportSettings, pause

PATH: Final = "-/report/node"
EVERY_S: Final = 3.0
"""A node hears within five seconds that it is to be drained."""
TIMEOUT_S: Final = 5.0
MAX_DETAIL: Final = 50
MAX_SENTENCE_CHARS: Final = 400


class ConditionReporter:
    """Sends `tell()`; `obey` is called with the drain that the manager wants."""

    def __init__(
        self,
        settings: ReportSettings,
        tell: Callable[[], dict[str, Any]],
        obey: Callable[[bool], None],
        allowances: Exchange,
    ) -> None:
        self._settings, self._tell, self._obey = settings, tell, obey
        self._allowances = allowances
        what = "word of this node's condition"
        self._post = Post(settings, PATH, what, TIMEOUT_S, MAX_ANSWER_BYTES)

    async def run(self) -> None:
        """Until cancelled."""
        pause_s = EVERY_S
        while True:
            body = self._body(await self._allowances.told())
            answer = await self._post.send(body, "application/json")
            if answer.is_good:
                pause_s = EVERY_S
                drain = _wanted(answer)
                if drain is not None:
                    self._obey(drain)
                await self._allowances.heard(answer.text)
            else:
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
            await pause(pause_s)

    def _body(self, spent: Mapping[str, Any]) -> bytes:
        told = self._tell()
        detail = [_clean(sentence) for sentence in told.get("detail", [])[:MAX_DETAIL]]
        said = {
            **told,
            **spent,
            "detail": detail,
            "node": self._settings.node,
            "config_digest": self._settings.config_digest,
        }
        return json.dumps(said).encode()


def _wanted(answer: Answer) -> bool | None:
    """None when it doesn't say."""
    try:
        said = json.loads(answer.text)
    except ValueError:
        return None
    drain = said.get("drain") if isinstance(said, dict) else None
    return drain if isinstance(drain, bool) else None


def _clean(sentence: str) -> str:
    """As UTF-8 can have it: what mirrors say may have half a character in it."""
    return sentence[:MAX_SENTENCE_CHARS].encode("utf-8", "replace").decode("utf-8")
