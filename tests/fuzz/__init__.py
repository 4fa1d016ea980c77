"""Fuzz targets (atheris) for everything that reads strangers' bytes."""
