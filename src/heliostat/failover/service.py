"""What others ask of this room: the provider that is configured, and bringing its records right."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from heliostat.config.load import LoadedConfig
from heliostat.failover import plan as plans
from heliostat.failover.errors import FailoverError
from heliostat.failover.plan import Plan, Provider
from heliostat.failover.records import wanted
from heliostat.model.node import Node

MAX_KEY_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Applied:
    """What a change of records came to."""

    plan: Plan

    @property
    def changed(self) -> bool:
        return bool(self.plan.steps)


def nodes_of(loaded: LoadedConfig) -> list[Node]:
    """All nodes of the configuration."""
    return [section.to_node() for section in loaded.config.nodes]


def provider_of(loaded: LoadedConfig) -> Provider | None:
    """The provider that `[dns]` names; None when it names none.

    Raises:
        FailoverError: its key can't be read.
    """
    settings = loaded.config.dns
    match settings.provider:
        case "route53":
            from heliostat.failover.route53 import Route53

            return Route53(settings)
        case "powerdns":
            from heliostat.failover.powerdns import PowerDns

            return PowerDns(settings, key_of(loaded, settings.api_key))
        case "rfc2136":
            from heliostat.failover.rfc2136 import Rfc2136

            return Rfc2136(settings, key_of(loaded, settings.tsig_key))
    return None


def key_of(loaded: LoadedConfig, key: str) -> str:
    """A secret: as it stands in the configuration, or in the file that is named there.

    Raises:
        FailoverError: that can't be read.
    """
    path = loaded.config.dns.api_key_file
    if key or path is None:
        return key
    try:
        with path.open("rb") as handle:
            return handle.read(MAX_KEY_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FailoverError(f"{path}: can't be read ({error}); see [dns] api_key_file") from error


def make_plan(
    loaded: LoadedConfig, provider: Provider, out: Collection[str], *, force: bool = False
) -> Plan:
    """The plan to the addresses of all nodes but those in `out`.

    Raises:
        UnsafeError: a rule says no.
        FailoverError: there are no nodes, or the provider can't be read.
    """
    nodes = nodes_of(loaded)
    if not nodes:
        raise FailoverError(
            f"{loaded.path}: there are no nodes yet; `heliostat node add NAME --address A` adds one"
        )
    return plans.make(provider, wanted(nodes, out), nodes, force=force)


def update_records(
    loaded: LoadedConfig, out: frozenset[str], *, force: bool = False
) -> Applied | None:
    """Brings the records to all nodes but those in `out`, at once; None without a provider.

    Raises:
        UnsafeError: a rule says no; nothing was changed.
        FailoverError: the provider; a second run finishes what was left.
    """
    provider = provider_of(loaded)
    if provider is None:
        return None
    plan = make_plan(loaded, provider, out, force=force)
    plans.apply(provider, plan)
    return Applied(plan)
