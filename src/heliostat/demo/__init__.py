"""Everything on one machine: loopback mirrors, a tree of real files, clients around the world."""
