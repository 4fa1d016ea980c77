"""The Django application of the probes' records."""

from __future__ import annotations

from django.apps import AppConfig


class ProbingConfig(AppConfig):
    name = "heliostat.manager.probing"
    label = "probing"
