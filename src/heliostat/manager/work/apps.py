"""The Django application of jobs."""

from django.apps import AppConfig


class WorkConfig(AppConfig):
    name = "heliostat.manager.work"
    label = "work"
