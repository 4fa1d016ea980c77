"""Writes the diagram of a mirror's states into docs/reference/mirror-states.md, from the rules.

python tools/state_diagram.py          # a test says when that was forgotten
"""

from __future__ import annotations

from pathlib import Path

from heliostat.manager.probing.machine import RULES
from heliostat.model.mirror import MirrorState

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "mirror-states.md"
BEGIN = "<!-- the diagram: made by tools/state_diagram.py -->\n"
END = "<!-- end of the diagram -->\n"


def diagram() -> str:
    """The rules as a Mermaid state diagram; states without traffic are drawn dashed."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {MirrorState.NEW}"]
    lines += [f"    {rule.before} --> {rule.after}: {rule.cause}" for rule in RULES]
    idle = ", ".join(state for state in MirrorState if not state.serves)
    lines += ["    classDef idle stroke-dasharray: 4", f"    class {idle} idle", "```"]
    return "\n".join(lines) + "\n"


def page_with_diagram(page: str) -> str:
    """`page` with the part between the marks made anew."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + diagram() + END + after


if __name__ == "__main__":
    PAGE.write_text(page_with_diagram(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
