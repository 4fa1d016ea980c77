"""The tables of what probes saw. Nothing here is set by people."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from heliostat.manager.registry.models import Endpoint, Mirror
from heliostat.model.mirror import MirrorState


class Status(models.Model):
    """What is known of one mirror now; no row: not looked at yet."""

    mirror = models.OneToOneField(Mirror, on_delete=models.CASCADE, related_name="status")
    state = models.CharField(max_length=16, choices=[(s.value, s.value) for s in MirrorState])
    reason = models.TextField(blank=True)
    since = models.DateTimeField()
    checked_at = models.DateTimeField(null=True)
    has_ipv4 = models.BooleanField(default=True)
    has_ipv6 = models.BooleanField(default=True)
    memory = models.JSONField(default=dict)
    """What the state machine remembers (`heliostat.manager.probing.machine.Memory`)."""
    wrong_bytes = models.JSONField(default=list)
    """Evidence of wrong bytes that were not seen mended yet."""
    price_ms = models.FloatField(default=0)
    rate_bytes_per_s = models.FloatField(null=True)

    def __str__(self) -> str:
        return f"{self.mirror}: {self.state}"


class EndpointCheck(models.Model):
    """What the last liveness probe saw at one http or https endpoint."""

    endpoint = models.OneToOneField(Endpoint, on_delete=models.CASCADE, related_name="check_row")
    alive = models.BooleanField()
    reason = models.TextField(blank=True)
    since = models.DateTimeField()
    broken_families = models.JSONField(default=list)
    certificate_expires = models.DateTimeField(null=True)
    notes = models.JSONField(default=dict)
    """What is odd about it and no reason to leave it out: kind → sentence."""

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
    stored_at = models.DateTimeField(auto_now=True)
    """Differs after every change of this row."""
    held = models.BinaryField(null=True)
    differing = models.BinaryField(null=True)
    samples = models.JSONField(default=list)
    doubtful = models.BinaryField(null=True)
    """The holding of a scan that lost suspiciously much: believed when a second one agrees."""
    doubtful_at = models.DateTimeField(null=True)
    verified = models.BinaryField(null=True)
    """Files whose first and last piece were seen to be right, in the version held."""
    rejected = models.BinaryField(null=True)
    """Files it has at the right size and with other bytes: not held until they are seen right."""
    unsure = models.BinaryField(null=True)
    """Files that changed since they were seen, and were not read in their present version."""
    memory = models.BinaryField(null=True)
    """What the next scan may go on from (`heliostat.probe.memory`)."""
    behind_files = models.PositiveIntegerField(default=0)
    behind_since = models.DateTimeField(null=True)
    """Age of the oldest change it lacks; None: it has all that it carries."""
    timestamp_at = models.DateTimeField(null=True)
    """What the tree's timestamp file says there."""

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


class Verification(models.Model):
    """One reading of random pieces from one mirror, kept KEPT_DAYS: volume, rate, faults."""

    mirror = models.ForeignKey(Mirror, on_delete=models.CASCADE, related_name="verifications")
    tree = models.CharField(max_length=63)
    at = models.DateTimeField(db_index=True)
    vantage = models.CharField(max_length=63)
    bytes_read = models.BigIntegerField(default=0)
    pieces = models.PositiveIntegerField(default=0)
    rate_bytes_per_s = models.FloatField(null=True)
    faults = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"{self.mirror}, {self.tree}, {self.at}"


class Reached(models.Model):
    """When a mirror was first seen to have all of a catalog version that it carries."""

    mirror = models.ForeignKey(Mirror, on_delete=models.CASCADE, related_name="reached")
    tree = models.CharField(max_length=63)
    catalog_identity = models.CharField(max_length=64)
    catalog_version = models.BigIntegerField()
    at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["mirror", "tree", "catalog_identity", "catalog_version"],
                name="reached_once",
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["tree", "catalog_identity", "catalog_version"]),
            models.Index(fields=["at"]),
        ]

    def __str__(self) -> str:
        return f"{self.mirror}: {self.tree} {self.catalog_version}"


class Vantage(models.Model):
    """A place that looks at mirrors and reports here: an edge's watch."""

    name = models.CharField(max_length=63, unique=True)
    reported_at = models.DateTimeField()
    suspects_itself = models.BooleanField(default=False)
    detail = models.JSONField(default=list)

    def __str__(self) -> str:
        return self.name


class VantageView(models.Model):
    """What one vantage point sees of one mirror: its lines that don't answer, and why."""

    vantage = models.ForeignKey(Vantage, on_delete=models.CASCADE, related_name="views")
    mirror = models.ForeignKey(Mirror, on_delete=models.CASCADE, related_name="views")
    down = models.JSONField(default=list)
    """[scheme, family] of each line that is out."""
    lines = models.PositiveSmallIntegerField(default=0)
    reason = models.TextField(blank=True)
    since = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["vantage", "mirror"], name="one_view_a_vantage")
        ]

    def __str__(self) -> str:
        return f"{self.mirror} from {self.vantage}"
