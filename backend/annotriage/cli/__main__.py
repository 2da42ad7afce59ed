"""`python -m annotriage.cli`, which is `annotriage`."""

from annotriage.cli import main

main()
