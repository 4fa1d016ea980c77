"""A project's infrastructure repository: `heliostat infra init` writes it, `check` reads it."""
