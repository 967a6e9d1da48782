"""`python -m ltrules`."""

from ltrules.cli import main

main()
