"""Address → place: readers of geo sources, the built-in table, and the zones made from them."""
