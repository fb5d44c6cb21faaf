"""Run the command line with ``python -m consumer``."""

from consumer.cli import main

main(prog_name="emotion-stream")
