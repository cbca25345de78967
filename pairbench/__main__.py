"""`python -m pairbench` is the command `pairbench`."""

from pairbench.cli import main

main()
