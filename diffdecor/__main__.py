"""Start the command line: ``python -m diffdecor``, and the script ``diffdecor``."""

from __future__ import annotations

import gc
import os


def main() -> None:
    """Run the command line in a process of its own."""
    # What is imported stays: the collector would go through all of it several times for nothing.
    gc.disable()
    # Threads of our own share the work; those of linear algebra would only be in their way.
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    from diffdecor.cli import main as command_line

    try:
        command_line(prog_name="diffdecor")
    finally:
        gc.freeze()  # nor need it do so at the end


if __name__ == "__main__":
    main()
