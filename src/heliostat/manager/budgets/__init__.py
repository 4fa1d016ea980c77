"""Scarce bytes at the manager: what each budget has left, who may spend it, what it costs now."""
