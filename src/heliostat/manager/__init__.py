"""The manager: a Django project with the registry, the probes' records and the jobs.

Promises: importing this package costs nothing. Modules that touch the database may be imported
only after `heliostat.manager.setup.setup_django` (Django loads its models then).
"""
