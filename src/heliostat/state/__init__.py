"""The compiled set of files an edge runs on: compile, write, publish; fetch, verify, open."""
