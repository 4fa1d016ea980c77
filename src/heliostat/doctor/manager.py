"""The manager: its keys, its database, the lease, what nodes said last, the provider of DNS.

Changes nothing: a database that isn't there isn't made, and no migration is run.
"""

from __future__ import annotations

from typing import Final

from heliostat.doctor.finding import Finding, bad, ok, skipped, warn
from heliostat.doctor.patient import Patient, in_thread
from heliostat.model.errors import HeliostatError
from heliostat.state.keys import KEYS_FOLDER, ROOT_WARN, KeyFolder

KEYS_RUNBOOK: Final = "runbook key-lost"
EXTRA: Final = "pip install 'heliostat[manager]'"


async def keys(patient: Patient) -> list[Finding]:
    return await in_thread(lambda: _keys(patient))


def _keys(patient: Patient) -> list[Finding]:
    topic, folder = "keys", KeyFolder(patient.loaded.data_dir / KEYS_FOLDER)
    if not folder.is_made:
        return [warn(topic, "there are none yet", "heliostat keys init --root-key FILE")]
    try:
        root = folder.root().signed
        folder.signers()
    except (HeliostatError, OSError) as error:
        return [bad(topic, str(error), KEYS_RUNBOOK)]
    found = []
    if folder.has_unlocked_root:
        found.append(
            warn(
                topic,
                "the root key lies beside the others: who gets this machine can publish for good",
                "heliostat keys rotate --new-root-key FILE",
            )
        )
    if root.expires - patient.now() < ROOT_WARN:
        said = f"the root is valid until {root.expires:%Y-%m-%d}"
        found.append(warn(topic, said, "heliostat keys rotate"))
    return found or [
        ok(topic, f"all there, root version {root.version} valid until {root.expires:%Y-%m-%d}")
    ]


async def registry(patient: Patient) -> list[Finding]:
    """All that needs the database: one connection for it all."""
    return await in_thread(lambda: _registry(patient))


def _registry(patient: Patient) -> list[Finding]:
    topic, loaded = "database", patient.loaded
    try:
        from heliostat.manager import setup
        from heliostat.manager.database import database_settings
    except ModuleNotFoundError as error:
        return [bad(topic, f"{error.name} isn't installed", EXTRA)]
    settings = database_settings(loaded)
    from pathlib import Path

    if not loaded.config.manager.database and not Path(str(settings["NAME"])).exists():
        return [warn(topic, "there is none yet", "the manager makes it at its first start")]
    setup.start_django(settings)
    from django.db import DatabaseError

    try:
        if pending := setup.open_migrations():
            return [
                warn(
                    topic,
                    f"{len(pending)} of its changes are still to be made",
                    "the manager makes them when it starts: systemctl restart heliostat-manager",
                )
            ]
        return [ok(topic, "answers, and is up to date"), *_lease(patient), *_nodes(patient)]
    except (DatabaseError, HeliostatError) as error:
        return [bad(topic, str(error).splitlines()[0], "see the database's own log")]


def _lease(patient: Patient) -> list[Finding]:
    from heliostat.manager.publishing.lease import HOLDER_NAME
    from heliostat.manager.work.leases import database_now
    from heliostat.manager.work.models import PublisherLease

    topic = "lease"
    row = PublisherLease.objects.filter(pk=1).first()
    if row is None:
        return [warn(topic, "nobody has published yet", "systemctl status heliostat-manager")]
    path = patient.loaded.data_dir / HOLDER_NAME
    own = path.read_text().strip() if path.exists() else ""
    if row.holder != own:
        return [
            warn(
                topic,
                f"another manager publishes (lease {row.fence})",
                "two of them? stop one; docs/decisions/0016-two-managers.md",
            )
        ]
    if row.until < database_now():
        return [
            bad(
                topic,
                "this manager doesn't keep it: nothing is published",
                "systemctl status heliostat-manager; runbook manager-gone",
            )
        ]
    return [ok(topic, f"this manager holds number {row.fence}")]


def _nodes(patient: Patient) -> list[Finding]:
    from heliostat.manager.nodes.view import node_views

    found = []
    for view in node_views(patient.loaded, patient.now()):
        topic = f"reports of {view.node.name}"
        if view.warnings:
            found += [
                warn(topic, one, f"heliostat node show {view.node.name}; heliostat doctor there")
                for one in view.warnings
            ]
        elif view.condition is not None:
            said = view.condition
            found.append(ok(topic, f"runs {said.program}, serves state {said.state_version}"))
    return found


async def provider(patient: Patient) -> list[Finding]:
    """The provider of DNS answers, and has the records that it should have."""
    from heliostat.failover.errors import FailoverError
    from heliostat.failover.service import provider_of

    topic = "DNS provider"
    if not patient.config.dns.provider:
        return [skipped(topic, "records are made by hand: [dns] provider is empty")]

    def ask() -> list[Finding]:
        found = provider_of(patient.loaded)
        assert found is not None
        published = found.read()
        count = sum(len(addresses) for addresses in published.addresses.values())
        return [ok(topic, f"{found.name} answers; it has {count} records of {found.subject}")]

    try:
        return await in_thread(ask)
    except FailoverError as error:
        return [bad(topic, str(error), "runbook dns-provider-down")]
