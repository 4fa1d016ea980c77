"""Where providers' own figures of transfer come from; one module a kind.

Figures that people enter (`heliostat budget set`) need no provider: they are readings already.
"""

from __future__ import annotations

from heliostat.budget.providers.base import (
    FaultKind,
    Provider,
    ProviderError,
    Reading,
)
from heliostat.budget.providers.fastly import Fastly
from heliostat.budget.providers.plain import PlainJson
from heliostat.budget.providers.prometheus import Prometheus
from heliostat.model.budget import ProviderSource

__all__ = ["FaultKind", "Provider", "ProviderError", "Reading", "open_provider"]


def open_provider(source: ProviderSource, mirror: str) -> Provider:
    """The provider of a mirror's budget; `mirror` is named in errors.

    Raises: ProviderError: nobody can be asked for that kind.
    """
    kinds: dict[str, type[Fastly] | type[PlainJson] | type[Prometheus]] = {
        "fastly": Fastly,
        "json": PlainJson,
        "prometheus": Prometheus,
    }
    if source.kind not in kinds:
        raise ProviderError(
            FaultKind.ABSENT, f"{mirror}: figures of kind {source.kind} are entered by hand"
        )
    return kinds[source.kind](source, mirror)
