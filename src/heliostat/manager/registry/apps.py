"""The Django application of the registry."""

from __future__ import annotations

from django.apps import AppConfig


class RegistryConfig(AppConfig):
    name = "heliostat.manager.registry"
    label = "registry"
