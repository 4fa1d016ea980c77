"""The command line, one module a noun. Modules are cheap to import: heavy rooms load on use."""
