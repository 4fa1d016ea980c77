"""The tables of what probes saw. Nothing here is set by people."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from heliostat.manager.registry.models import Endpoint, Mirror
from heliostat.model.mirror import MirrorState


class Status(models.Model):
    """What is known of one mirror now; no row: not looked at yet."""

    mirror = models.OneToOneField(Mirror, on_delete=models.CASCADE, related_name="status")
    state = models.CharField(max_length=8, choices=[(s.value, s.value) for s in MirrorState])
    reason = models.TextField(blank=True)
    since = models.DateTimeField()
    checked_at = models.DateTimeField(null=True)
    has_ipv4 = models.BooleanField(default=True)
    has_ipv6 = models.BooleanField(default=True)

    def __str__(self) -> str:
        return f"{self.mirror}: {self.state}"


class EndpointCheck(models.Model):
    """What the last liveness probe saw at one http or https endpoint."""

    endpoint = models.OneToOneField(Endpoint, on_delete=models.CASCADE, related_name="check_row")
    alive = models.BooleanField()
    reason = models.TextField(blank=True)
    since = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.endpoint}: {'alive' if self.alive else self.reason}"


class Scan(models.Model):
    """The last scan of one mirror for one tree, and the holding of the last one that succeeded.

    The bitmaps are pyroaring's portable serialisation of file ids; `samples` are a few of the
    files held, as [percent-encoded path, size in bytes], for liveness to ask for. Both are about
    the catalog of `catalog_identity` as it was in `catalog_version`, and no other.
    """

    mirror = models.ForeignKey(Mirror, on_delete=models.CASCADE, related_name="scans")
    tree = models.CharField(max_length=63)
    tried_at = models.DateTimeField(null=True)
    succeeded = models.BooleanField(default=False)
    reason = models.TextField(blank=True)
    duration_s = models.FloatField(default=0)
    held_at = models.DateTimeField(null=True)
    method = models.CharField(max_length=16, blank=True)
    catalog_identity = models.CharField(max_length=64, blank=True)
    catalog_version = models.BigIntegerField(default=0)
    held_count = models.PositiveIntegerField(default=0)
    differing_count = models.PositiveIntegerField(default=0)
    held = models.BinaryField(null=True)
    differing = models.BinaryField(null=True)
    samples = models.JSONField(default=list)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["mirror", "tree"], name="one_scan_a_mirror_and_tree")
        ]

    def __str__(self) -> str:
        return f"{self.mirror}, {self.tree}"


class ChangeCount(models.Model):
    """One row: how often probes changed something that routing goes by.

    Whoever publishes reads it to see what another process found.
    """

    changes = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.changes} changes"
