"""The Django application of budgets."""

from __future__ import annotations

from django.apps import AppConfig


class BudgetsConfig(AppConfig):
    name = "heliostat.manager.budgets"
    label = "budgets"
