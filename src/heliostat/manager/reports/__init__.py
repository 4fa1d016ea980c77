"""Reports of edges: what each node's watch sees of the mirrors, taken over HTTP with a token."""
