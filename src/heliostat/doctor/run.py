"""Runs all checks that apply, side by side, each in bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from heliostat.doctor import (
    afar,
    certificate,
    clock,
    disk,
    listeners,
    manager,
    names,
    peers,
    services,
    states,
)
from heliostat.doctor.finding import Finding, Verdict, warn
from heliostat.doctor.patient import Patient

log = structlog.get_logger()

CHECK_S: Final = 5.0
"""For one check."""
WHOLE_S: Final = 20.0


@dataclass(frozen=True, slots=True)
class Check:
    """One check, and whom it is for."""

    name: str
    run: Callable[[Patient], Awaitable[list[Finding]]]
    for_edges: bool = True
    for_managers: bool = True

    def applies(self, patient: Patient) -> bool:
        return (self.for_edges and patient.is_edge) or (self.for_managers and patient.is_manager)


CHECKS: Final = (
    Check("configuration", disk.configuration),
    Check("data_dir", disk.data_folder),
    Check("disk", disk.disk),
    Check("clock", clock.kernel),
    Check("clock of others", clock.others),
    Check("services", services.units),
    Check("edge", listeners.edge, for_managers=False),
    Check("open files", services.open_files, for_managers=False),
    Check("ports", listeners.ports, for_managers=False),
    Check("certificate", certificate.certificate, for_managers=False),
    Check("state", states.held, for_managers=False),
    Check("sources", states.sources, for_managers=False),
    Check("manager", afar.manager, for_managers=False),
    Check("keys", manager.keys, for_edges=False),
    Check("database", manager.registry, for_edges=False),
    Check("published state", states.published, for_edges=False),
    Check("DNS provider", manager.provider, for_edges=False),
    Check("DNS", names.records),
    Check("addresses", names.addresses, for_managers=False),
    Check("IPv6", names.ipv6),
    Check("nodes", peers.nodes),
)
"""In the order of the table."""


def applying(patient: Patient) -> list[Check]:
    """The checks for what this machine is."""
    return [check for check in CHECKS if check.applies(patient)]


async def examine(
    patient: Patient, checks: Sequence[Check], done: Callable[[str], None]
) -> list[Finding]:
    """All findings in the order of `checks`; `done` is told the name of each that ended."""

    async def one(check: Check) -> list[Finding]:
        try:
            async with asyncio.timeout(CHECK_S):
                return await check.run(patient)
        except TimeoutError:
            todo = "something it asked hangs; look at disk and network"
            return [warn(check.name, f"didn't end within {CHECK_S:g} s", todo)]
        except Exception as error:
            log.debug("a check failed", check=check.name, exc_info=True)
            todo = "a fault of the doctor itself: run it with --debug, and please report it"
            return [warn(check.name, f"{type(error).__name__}: {error}", todo)]
        finally:
            done(check.name)

    async with asyncio.timeout(WHOLE_S):
        lists = await asyncio.gather(*(one(check) for check in checks))
    return [finding for found in lists for finding in found]


def is_bad(findings: Sequence[Finding]) -> bool:
    return any(finding.verdict is Verdict.BAD for finding in findings)
