"""`python -m heliostat`: the same as the `heliostat` command."""

from heliostat.cli.main import main

main()
