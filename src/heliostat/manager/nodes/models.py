"""The tables of nodes: who is drained, what each said of itself last, and what they counted."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

NAME_CHARS = 63
REASON_CHARS = 400
PATH_CHARS = 4096
COUNTRY_CHARS = 8
MIRROR_CHARS = 255


class NodeState(models.Model):
    """One node. A row is made by the first thing that is to be remembered of it."""

    name = models.CharField(max_length=NAME_CHARS, unique=True)
    drained_at = models.DateTimeField(null=True)
    """When the manager was told to take it out; null: it isn't drained."""
    drain_reason = models.CharField(max_length=REASON_CHARS, blank=True)
    reported_at = models.DateTimeField(null=True)
    condition = models.JSONField(default=dict)
    """What it said of itself last (`heliostat.manager.reports.form.Condition`)."""


class CountBatch(models.Model):
    """A segment of a node's spool that was counted: it isn't counted again."""

    identity = models.CharField(max_length=64, unique=True)
    node = models.CharField(max_length=NAME_CHARS)
    counted_at = models.DateTimeField(db_index=True)
    downloads = models.PositiveBigIntegerField()


class DownloadCount(models.Model):
    """Downloads of a file from a mirror by clients of a country in an hour, or a day when old."""

    at = models.DateTimeField()
    """Beginning of the hour or day."""
    is_day = models.BooleanField(default=False)
    path = models.CharField(max_length=PATH_CHARS)
    """Decoded as UTF-8 with the tree's prefix, without the first slash; odd bytes as \\xNN."""
    mirror = models.CharField(max_length=MIRROR_CHARS, blank=True)
    """Empty: the fallback or origin."""
    country = models.CharField(max_length=COUNTRY_CHARS, blank=True)
    downloads = models.PositiveBigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["at", "is_day", "path", "mirror", "country"], name="one_count"
            )
        ]
