"""The tables of what people declare.

A mirror's row holds what its file says and, apart from it, what an operator set by hand
(`paused_*`); no column here is ever written by a probe.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from heliostat.model.mirror import MirrorKind, Scheme

NAME_CHARS = 255
URL_CHARS = 2000


class Mirror(models.Model):
    """One declared mirror. `enabled` is its file's word, `paused_at` the operator's."""

    name = models.CharField(max_length=NAME_CHARS, unique=True)
    kind = models.CharField(max_length=16, choices=[(k.value, k.value) for k in MirrorKind])
    sponsor = models.CharField(max_length=NAME_CHARS, blank=True)
    enabled = models.BooleanField(default=True)
    paused_at = models.DateTimeField(null=True)
    paused_reason = models.TextField(blank=True)
    paused_until = models.DateTimeField(null=True)
    """Null: until it is enabled by hand."""
    country = models.CharField(max_length=2, blank=True)
    subdivision = models.CharField(max_length=NAME_CHARS, blank=True)
    city = models.CharField(max_length=NAME_CHARS, blank=True)
    latitude = models.FloatField(null=True)
    longitude = models.FloatField(null=True)
    asns = models.JSONField(default=list)
    networks = models.JSONField(default=list)
    private = models.BooleanField(default=False)
    bandwidth_mbps = models.PositiveIntegerField(default=0)
    exclude_countries = models.JSONField(default=list)
    max_file_bytes = models.PositiveBigIntegerField(default=0)
    budget = models.JSONField(null=True)
    """As `heliostat.model.budget.Budget` has it, by field; null: none."""
    capacity = models.JSONField(null=True)
    only_beyond_ms = models.FloatField(default=0)
    first_hours = models.FloatField(default=0)
    pops = models.JSONField(default=list)
    time_zone = models.CharField(max_length=63, default="UTC")
    scan_hours = models.CharField(max_length=11, blank=True)
    requests_per_s = models.FloatField(default=0)
    verify_bytes_per_day = models.BigIntegerField(default=-1)
    token_sha256 = models.CharField(max_length=64, blank=True, default="", db_default="")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Endpoint(models.Model):
    """A mirror's base URL for one tree and scheme; trees stand in the configuration file."""

    mirror = models.ForeignKey(Mirror, on_delete=models.CASCADE, related_name="endpoints")
    tree = models.CharField(max_length=63)
    scheme = models.CharField(max_length=8, choices=[(s.value, s.value) for s in Scheme])
    url = models.CharField(max_length=URL_CHARS)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["mirror", "tree", "scheme"], name="one_url_a_tree_and_scheme"
            )
        ]

    def __str__(self) -> str:
        return self.url


class Event(models.Model):
    """A change of a mirror, by people or by what probes saw, with its evidence.

    The mirror stands here by name, so that the events outlive it.
    """

    at = models.DateTimeField(db_index=True)
    mirror = models.CharField(max_length=NAME_CHARS, db_index=True)
    kind = models.CharField(max_length=32)
    before = models.CharField(max_length=32, blank=True)
    after = models.CharField(max_length=32, blank=True)
    reason = models.TextField(blank=True)
    evidence = models.JSONField(default=dict)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"{self.mirror}: {self.kind} {self.before} -> {self.after}"
