"""Running it on many nodes with Slurm."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, parsed

_TEXT = """
Write a list of triples, one line for each, of four names: science image, template, difference,
output. Names must not contain spaces. For example:

```text
n1/sci_001.fits n1/tmpl_001.fits n1/diff_001.fits n1/decorr_001.fits
n1/sci_002.fits n1/tmpl_002.fits n1/diff_002.fits n1/decorr_002.fits
```

An array of Slurm jobs, one task for each line:

```sh
#!/bin/sh
#SBATCH --job-name=diffdecor
#SBATCH --array=1-200%50
#SBATCH --cpus-per-task=2
#SBATCH --mem=2G
#SBATCH --time=00:10:00
#SBATCH --output=decorr_%a.log

# Line number SLURM_ARRAY_TASK_ID of the list that is given as argument.
set -- $(sed -n "${SLURM_ARRAY_TASK_ID}p" "$1")
if [ $# -ne 4 ]; then
    echo "line $SLURM_ARRAY_TASK_ID: not four names" >&2
    exit 2
fi
exec diffdecor run "$1" "$2" "$3" -o "$4" \\
    --threads "$SLURM_CPUS_PER_TASK" --max-memory 1G
```

```text
sbatch decorr.sh triples.txt
sacct -j JOBID --state=FAILED --format=JobID,ExitCode
```

Submit the same array again to repeat what failed: outputs that are there already are kept, which
takes about a second each. A task that Slurm cancels (SIGTERM) leaves no output. The locks of
outputs work across nodes on network file systems; 75 means that another task is writing this one.

--threads does not change the result. Memory hardly grows with the images (diffdecor help speed).
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    return parsed(_TEXT)
