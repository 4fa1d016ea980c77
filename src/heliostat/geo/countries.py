"""Country codes: ISO 3166-1 alpha-2 as two-byte numbers, and the continent of each.

Continents follow the UN M49 regions, with the Americas parted at Panama and Colombia, and with the
seven codes of DESIGN §3: AF AN AS EU NA OC SA. Kosovo (XK, a user-assigned code that every geo
source uses) is the one addition to ISO 3166.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CODES = {
    "AF": """AO BF BI BJ BW CD CF CG CI CM CV DJ DZ EG EH ER ET GA GH GM GN GQ GW KE KM LR LS LY
        MA MG ML MR MU MW MZ NA NE NG RE RW SC SD SH SL SN SO SS ST SZ TD TG TN TZ UG YT ZA ZM
        ZW""",
    "AN": "AQ BV GS HM TF",
    "AS": """AE AF AM AZ BD BH BN BT CC CN CX CY GE HK ID IL IN IO IQ IR JO JP KG KH KP KR KW KZ LA
        LB LK MM MN MO MV MY NP OM PH PK PS QA SA SG SY TH TJ TL TM TR TW UZ VN YE""",
    "EU": """AD AL AT AX BA BE BG BY CH CZ DE DK EE ES FI FO FR GB GG GI GR HR HU IE IM IS IT JE LI
        LT LU LV MC MD ME MK MT NL NO PL PT RO RS RU SE SI SJ SK SM UA VA XK""",
    "NA": """AG AI AW BB BL BM BQ BS BZ CA CR CU CW DM DO GD GL GP GT HN HT JM KN KY LC MF MQ MS MX
        NI PA PM PR SV SX TC TT US VC VG VI""",
    "OC": "AS AU CK FJ FM GU KI MH MP NC NF NR NU NZ PF PG PN PW SB TK TO TV UM VU WF WS",
    "SA": "AR BO BR CL CO EC FK GF GY PE PY SR UY VE",
}

CONTINENT_OF: dict[str, str] = {
    code: continent for continent, codes in _CODES.items() for code in codes.split()
}
"""Continent of every country code; what isn't in here is no country."""

_OTHER_NAMES = {"UK": "GB", "EL": "GR"}
"""Codes that some sources use for a country that has another one."""

UNKNOWN = 0
"""The packed code of "no country known"."""


def clean_code(text: str) -> str:
    """`text` as an ISO code; "" when it names no country (EU, AP, ??, ZZ, A1 and the like)."""
    code = text.strip().upper()
    code = _OTHER_NAMES.get(code, code)
    return code if code in CONTINENT_OF else ""


def pack(code: str) -> int:
    """A clean code as a number of two bytes; "" is 0."""
    return ord(code[0]) << 8 | ord(code[1]) if code else UNKNOWN


def unpack(packed: int) -> str:
    """The code that `pack` made a number of."""
    return chr(packed >> 8) + chr(packed & 0xFF) if packed else ""


def pack_codes(texts: list[str]) -> NDArray[np.uint16]:
    """One packed code for each of `texts`, 0 where it names no country."""
    memory: dict[str, int] = {}
    for text in set(texts):
        memory[text] = pack(clean_code(text))
    return np.fromiter((memory[text] for text in texts), dtype=np.uint16, count=len(texts))


def continent_of(code: str) -> str:
    """The continent of a clean code; "" when the code is "" or unknown."""
    return CONTINENT_OF.get(code, "")
