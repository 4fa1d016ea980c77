"""What the project publishes: scanning a tree, digests, and the catalog that is kept of it."""
