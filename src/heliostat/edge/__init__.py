"""The redirector. Needs nothing but the last good state on its own disk."""
