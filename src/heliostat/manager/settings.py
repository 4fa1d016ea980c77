"""The Django settings that never change; `setup_django` adds the database from heliostat.toml.

Also what mypy's plugin reads, and `django-admin makemigrations --settings
heliostat.manager.settings`; the database named here is for them only.
"""

from __future__ import annotations

from typing import Any

INSTALLED_APPS = [
    "heliostat.manager.registry",
    "heliostat.manager.probing",
    "heliostat.manager.work",
    "heliostat.manager.nodes",
    "heliostat.manager.budgets",
]
TASKS = {"default": {"BACKEND": "heliostat.manager.work.backend.JobBackend"}}
DATABASES: dict[str, dict[str, Any]] = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
}
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING_CONFIG = None
"""Logging belongs to the command that runs, not to Django."""
