"""Run the command line with ``python -m diffdecor``."""

from diffdecor.cli import main

main(prog_name="diffdecor")
