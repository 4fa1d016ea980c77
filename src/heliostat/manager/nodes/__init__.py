"""Nodes as the manager knows them: who is drained, what each said of itself, what it counted."""
