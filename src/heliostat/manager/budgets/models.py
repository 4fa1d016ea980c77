"""The tables of budgets: accounts, allowances, providers' figures, prices, demand, releases."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

NAME_CHARS = 255
NODE_CHARS = 63
PURSE_CHARS = 64
DETAIL_CHARS = 400
COUNTRY_CHARS = 8
VERSION_CHARS = 100


class Account(models.Model):
    """A budget in its current period. Rolls over by itself when the next period begins."""

    mirror = models.CharField(max_length=NAME_CHARS, unique=True)
    period_start = models.DateTimeField()
    general_limit_bytes = models.BigIntegerField(default=0)
    """What all allowances of the period together may come to, without the reserve."""
    reserve_limit_bytes = models.BigIntegerField(default=0)
    last_epoch = models.PositiveBigIntegerField(default=0)
    """Of all periods: an epoch is never used twice."""
    planned_bytes_per_s = models.FloatField(default=0)
    """What the last step foresees for the next hours: how large allowances are."""
    spent_bytes = models.BigIntegerField(default=0)
    """By our own accounts and the provider's, whichever is the safer."""
    own_bytes = models.BigIntegerField(default=0)
    provider_bytes = models.BigIntegerField(null=True)
    provider_until = models.DateTimeField(null=True)
    ratio = models.FloatField(null=True)
    """What the provider counts of what we charge, as learned."""
    forecast_bytes = models.BigIntegerField(null=True)
    """At the period's end, as the last step foresees."""
    saved_ms_bytes = models.FloatField(default=0)
    """Milliseconds times bytes that its redirects saved in the period so far."""
    notes = models.JSONField(default=list)
    updated_at = models.DateTimeField(null=True)


class Allowance(models.Model):
    """What one purse was given in one epoch: a row of `heliostat.budget.ledger`."""

    mirror = models.CharField(max_length=NAME_CHARS)
    period_start = models.DateTimeField()
    node = models.CharField(max_length=NODE_CHARS)
    purse = models.CharField(max_length=PURSE_CHARS)
    epoch = models.PositiveBigIntegerField()
    given_general = models.BigIntegerField(default=0)
    given_reserve = models.BigIntegerField(default=0)
    taken_general = models.BigIntegerField(default=0)
    taken_reserve = models.BigIntegerField(default=0)
    is_closed = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["mirror", "epoch"], name="one_allowance")
        ]
        indexes: ClassVar = [models.Index(fields=["mirror", "period_start"], name="of_period")]


class Reading(models.Model):
    """A figure of a provider, or one that a person entered."""

    mirror = models.CharField(max_length=NAME_CHARS)
    period_start = models.DateTimeField()
    read_at = models.DateTimeField()
    until = models.DateTimeField()
    """What the figure covers, from the period's beginning."""
    bytes = models.BigIntegerField()
    is_partial = models.BooleanField(default=False)
    by_hand = models.BooleanField(default=False)
    detail = models.CharField(max_length=DETAIL_CHARS, blank=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["mirror", "period_start"], name="readings_of")]


class Sample(models.Model):
    """A budget at one moment, for its curve and for reconciliation; bytes are of the period."""

    mirror = models.CharField(max_length=NAME_CHARS)
    period_start = models.DateTimeField()
    at = models.DateTimeField()
    own_bytes = models.BigIntegerField()
    spent_bytes = models.BigIntegerField()
    price_ms = models.FloatField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["mirror", "at"], name="one_sample")
        ]


class Price(models.Model):
    """What a mirror's scarce bytes cost now: goes into the next state."""

    mirror = models.CharField(max_length=NAME_CHARS, unique=True)
    budget_ms = models.FloatField(default=0)
    capacity_ms = models.FloatField(default=0)
    since = models.DateTimeField()


class Completion(models.Model):
    """What a redirect to a mirror comes to, by size class, as learned."""

    mirror = models.CharField(max_length=NAME_CHARS, unique=True)
    learned = models.JSONField()
    """As `heliostat.budget.completion.Completion` has it."""


class Demand(models.Model):
    """Bytes that clients of a country were redirected to in an hour, or a day when old."""

    at = models.DateTimeField()
    is_day = models.BooleanField(default=False)
    country = models.CharField(max_length=COUNTRY_CHARS, blank=True)
    bytes = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["at", "is_day", "country"], name="one_demand")
        ]


class Served(models.Model):
    """Bytes that clients were redirected to at a mirror in an hour, by class of file size."""

    at = models.DateTimeField()
    is_day = models.BooleanField(default=False)
    mirror = models.CharField(max_length=NAME_CHARS, blank=True)
    size_class = models.PositiveSmallIntegerField()
    bytes = models.BigIntegerField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["at", "is_day", "mirror", "size_class"], name="one_served"
            )
        ]


class Release(models.Model):
    """A release that was announced to us: demand to come, and files that may be held back."""

    tree = models.CharField(max_length=NAME_CHARS)
    version = models.CharField(max_length=VERSION_CHARS)
    announced_at = models.DateTimeField()
    at = models.DateTimeField()
    """When people are told of it."""
    hold_share = models.FloatField(default=0)
    """Its files stay unlisted until so much of the bandwidth holds them; 0: never held."""
    listed_at = models.DateTimeField(null=True)
    """When the hold ended."""

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tree", "version"], name="one_release")
        ]
