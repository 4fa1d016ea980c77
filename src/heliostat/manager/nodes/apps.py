"""The Django application of nodes."""

from __future__ import annotations

from django.apps import AppConfig


class NodesConfig(AppConfig):
    name = "heliostat.manager.nodes"
    label = "nodes"
