"""Scarce bytes: the simulated year's table, and what a solve takes at its full size.

    python bench/scarce.py            # 20 seeds of 12 months: an hour on two cores
    python bench/scarce.py --quick    # 2 seeds of 2 months

The year is that of `heliostat simulate`; where a list of real mirrors lies beside the project, its
mirrors are drawn from that. Peers stand in the table: the best in hindsight, and usual practices.
The solver's peer is HiGHS on the linear program without spreading, in the same run.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

from heliostat.budget.problem import Field, Problem, Slot
from heliostat.budget.rule import settle
from heliostat.budget.solver import solve

REAL = Path(__file__).parents[2] / "shared" / "data" / "mirrors-almalinux.jsonl"
ZONES, MIRRORS, CANDIDATES, BUDGETS = 5000, 500, 20, 3
SOLVE_S, SOLVE_MB = 5.0, 500.0
OVER_BEST, SAVED, UNUSED, PEAK = 1.03, 0.95, 0.02, 1.05
ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description="scarce bytes: the year's table, and the solver")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--json", type=Path, help="keep the year's figures here")
    arguments = parser.parse_args()
    reached = solver(arguments.quick)
    reached &= year(arguments.quick, arguments.seeds, arguments.json)
    sys.exit(0 if reached else 1)


def solver(quick: bool) -> bool:
    """A problem of the full size, as far apart as zones and mirrors of the world are."""
    problem = made_problem()
    times, peers = [], []
    for _ in range(1 if quick else ROUNDS):
        begun = time.perf_counter()
        solution = solve(problem)
        settle(problem, solution.budget_ms, solution.capacity_ms)
        times.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        peer = linear(problem)
        peers.append(time.perf_counter() - begun)
    used_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    ours, theirs = float(np.median(times)), float(np.median(peers))
    print(
        f"solve at {ZONES} zones x {MIRRORS} mirrors ({CANDIDATES} a zone) x {BUDGETS} budgets:"
        f" {ours:.2f} s ({min(times):.2f} to {max(times):.2f}; {SOLVE_S:g} wanted),"
        f" {used_mb:.0f} MB with everything ({SOLVE_MB:g} wanted), {solution.steps} steps"
    )
    print(f"HiGHS on the linear program: {theirs:.2f} s, {theirs / ours:.1f} x; cost {peer:.2f} ms")
    return ours <= SOLVE_S and used_mb <= SOLVE_MB


def made_problem() -> Problem:
    rng = np.random.default_rng(1)
    where = rng.uniform(-1, 1, (ZONES, 2)), rng.uniform(-1, 1, (MIRRORS, 2))
    away = np.hypot(*(where[0][:, None, :] - where[1][None, :, :]).transpose(2, 0, 1))
    cost = 8 + 120 * away
    cdns = np.arange(MIRRORS - BUDGETS, MIRRORS)
    cost[:, cdns] = [18.0, 20.0, 25.0]
    order = np.argsort(cost, axis=1)
    ranked = [[(float(cost[z, m]), int(m)) for m in order[z]] for z in range(ZONES)]
    weights = rng.choice([1000.0, 10_000.0, 20_000.0], MIRRORS).tolist()
    regions = [f"{int(x > 0)}{int(y > 0)}" for x, y in where[1]]
    field = Field.of(ranked, weights, regions, set(cdns.tolist()))
    demand = rng.lognormal(0, 1.5, ZONES)
    slots = [Slot(demand, 1.0), Slot(demand * 5, 1.0), Slot(demand * 500, 600.0, False)]
    whole = float(demand.sum())
    lines = {m: weights[m] / sum(weights) * whole * 12 for m in range(MIRRORS - BUDGETS)}
    budgets = {int(m): whole * 500 * part for m, part in zip(cdns, (0.05, 0.03, 0.02), strict=True)}
    return Problem(field, slots, budgets, lines)


def linear(problem: Problem) -> float:
    """The mean cost without spreading: what HiGHS makes of the same limits."""
    field, slots = problem.field, problem.slots
    zone, place = np.nonzero(field.weight > 0)
    mirror, cost = field.mirror[zone, place], field.cost_ms[zone, place]
    count = len(zone)
    columns = np.arange(count * len(slots)).reshape(len(slots), count)
    demand = np.array([slot.demand_bytes for slot in slots])
    total = demand.sum()
    equal = coo_matrix(
        (
            np.ones(columns.size),
            (
                (np.arange(len(slots))[:, None] * len(field.weight) + zone[None, :]).reshape(-1),
                columns.reshape(-1),
            ),
        )
    )
    rows: list[int] = []
    cols: list[int] = []
    values: list[float] = []
    limits: list[float] = []
    for number, slot in enumerate(slots):
        if slot.has_capacity:
            for one, rate in problem.capacities.items():
                taken = np.flatnonzero(mirror == one)
                rows += [len(limits)] * len(taken)
                cols += columns[number, taken].tolist()
                values += slot.demand_bytes[zone[taken]].tolist()
                limits.append(rate * slot.seconds)
    for one, left in problem.budgets.items():
        taken = np.flatnonzero(mirror == one)
        for number, slot in enumerate(slots):
            rows += [len(limits)] * len(taken)
            cols += columns[number, taken].tolist()
            values += slot.demand_bytes[zone[taken]].tolist()
        limits.append(left)
    found = linprog(
        (demand[:, zone] * cost / total).reshape(-1),
        A_ub=coo_matrix((values, (rows, cols)), shape=(len(limits), columns.size)) / total,
        b_ub=np.array(limits) / total,
        A_eq=equal,
        b_eq=np.ones(len(slots) * len(field.weight)),
        bounds=(0, 1),
        method="highs",
    )
    return float(found.fun) if found.status == 0 else float("nan")


def year(quick: bool, seeds: int, kept: Path | None) -> bool:
    command = [sys.executable, "-m", "heliostat"]
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder) / "scenario.toml"
        lines = ['name = "a year with a sponsored CDN, made-up mirrors"']
        if REAL.exists():
            lines = [
                'name = "a year with a sponsored CDN, 120 real mirrors"',
                "[mirrors]",
                f'path = "{REAL}"',
                "line_share = 3",
            ]
        else:
            lines += ["[mirrors]", "line_share = 3"]
        scenario.write_text("\n".join(lines) + "\n")
        command += ["simulate", str(scenario), "--json", "--seeds", str(2 if quick else seeds)]
        if quick:
            command += ["--periods", "2"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    results = json.loads(done.stdout)
    if kept:
        kept.write_text(done.stdout)
    return told(results)


def told(results: list[dict[str, object]]) -> bool:
    """Prints the table of all seeds; whether every figure is reached."""
    rows: dict[str, list[dict[str, float]]] = {}
    for result in results:
        for row in result["policies"]:  # type: ignore[attr-defined]
            name = row["policy"].split(",")[0]
            rows.setdefault(name, []).append(row)
    print(f"{len(results)} seeds; mean of seeds, and the worst")
    for name, of_policy in rows.items():
        parts = [f"{name:<30}"]
        for key, worst in (
            ("objective_ms", max),
            ("mean_ms", max),
            ("saved", min),
            ("spent_most", max),
            ("unused_most", max),
            ("peak_load", max),
        ):
            values = [row[key] for row in of_policy]
            parts.append(f"{key} {np.mean(values):.4g} ({worst(values):.4g})")
        print("  ".join(parts))
    names = list(rows)
    ours, best = rows[names[0]], rows[names[1]]
    over = [a["objective_ms"] / b["objective_ms"] for a, b in zip(ours, best, strict=True)]
    bound = [float(result["over_bound"]) for result in results]  # type: ignore[arg-type]
    saved = float(np.mean([row["saved"] for row in ours]))
    unused = max(row["unused_most"] for row in ours)
    spent = max(row["spent_most"] for row in ours)
    peak = max(row["peak_load"] for row in ours)
    print(
        f"over the best in hindsight {np.mean(over):.4f} x (worst {max(over):.4f}; {OVER_BEST}"
        f" wanted); over the bound {np.mean(bound):.4f} x (worst {max(bound):.4f})\n"
        f"of its saving {saved:.1%} ({SAVED:.0%} wanted); overspent"
        f" {'never' if spent <= 1 else f'{spent - 1:.2%}'}; unused at most {unused:.2%}"
        f" ({UNUSED:.0%} wanted); fullest line {peak:.3f} ({PEAK} wanted)"
    )
    return (
        max(over) <= OVER_BEST
        and saved >= SAVED
        and spent <= 1
        and unused <= UNUSED
        and (peak <= PEAK)
    )


if __name__ == "__main__":
    main()
