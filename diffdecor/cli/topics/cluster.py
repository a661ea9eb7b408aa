"""Running it on many machines: with a scheduler of jobs, or with Dask."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, parsed

_TEXT = """
There are three ways, and all of them take the same table of jobs (diffdecor help batches): shares
of it in a job array, single commands, or Dask. All machines must see the same files by the same
names. Whatever is killed, by a walltime or otherwise, is done again by whoever comes next.

## Job arrays

Every task of the array does one share of the table with all cores that it has. An array for Slurm:

```sh
#!/bin/sh
#SBATCH --job-name=diffdecor
#SBATCH --array=1-20
#SBATCH --cpus-per-task=8
#SBATCH --mem=8G
#SBATCH --time=02:00:00
#SBATCH --requeue
#SBATCH --output=decorr_%a.log

# decorr.sh MANIFEST: one of 20 shares.
# The deadline is some minutes before --time.
diffdecor batch "$1" --shard "$SLURM_ARRAY_TASK_ID/20" \\
    --jobs "$SLURM_CPUS_PER_TASK" --deadline 110m
code=$?
# Some are not done: go on in a new job.
[ $code -ne 75 ] || scontrol requeue "$SLURM_JOB_ID"
exit $code
```

```text
sbatch decorr.sh night.csv
sacct -j JOBID --format=JobID,State,ExitCode
diffdecor batch night.csv --status
sbatch --array=3,7 decorr.sh night.csv
```

The last line repeats two shares: for this their number stands in the script, and not
SLURM_ARRAY_TASK_COUNT, which would be 2. --shard takes the rows I, I+N, I+2N and so on, whatever is
done already. Nothing is started that cannot be expected to end by the deadline; it may also be
given in seconds since 1970, as newer versions of Slurm have them in SLURM_JOB_END_TIME.

HTCondor counts from 0, so $(Process) needs one more:

```text
executable = /opt/diffdecor/.venv/bin/diffdecor
arguments = batch night.csv --shard $INT(Share)/20 --jobs 8 --deadline 110m
Share = $(Process) + 1
request_cpus = 8
request_memory = 8G
on_exit_remove = (ExitCode =!= 75)
queue 20
```

## Single commands

--print-commands prints what is left to be done, one command a line, quoted for sh. xargs and GNU
parallel do several at a time:

```sh
diffdecor batch night.csv --print-commands | tr '\\n' '\\0' |
    xargs -0 -n 1 -P 8 sh -c
```

```sh
diffdecor batch night.csv --print-commands | parallel --jobs 8
```

Or write them to a file, and have task N of a job array do line N. Every command is a process of its
own, which costs a small image twice the time, and nothing is written to the table of results. The
outputs are the same; diffdecor batch night.csv finds them done, and then writes the table.

## Dask

With pip install 'diffdecor[dask]', the workers of a Dask scheduler do the jobs. To try it out on
one machine, where --jobs 4 does the same for less:

```sh
diffdecor batch night.csv --dask 4
```

By hand, on machines with one file system and one and the same installation:

```text
dask scheduler --scheduler-file night.json --no-dashboard
dask worker --scheduler-file night.json --nworkers 16 --nthreads 1 \\
    --memory-limit 0 --no-dashboard --death-timeout 600
```

```sh
diffdecor batch night.csv --scheduler-file night.json
```

The first command runs on one machine, the second on each of the others, in any order; workers may
come and go. Or name the scheduler: --scheduler tcp://host:8786. Only names of files and options
travel. Every thread of a worker has a process of its own, which does one job at a time; Dask does
not see its memory, so give no limit but that of the machine. Who reaches the port of a scheduler
can run programs as you: keep it within the cluster, or use TLS as Dask describes it.

- A worker that vanishes, at a walltime or otherwise, leaves nothing half written; its jobs are done
  by others, and no try is counted.
- A job that crashes or takes too long harms its own process only.
- A scheduler that vanishes is waited for, a minute long; workers have to be started again, too. If
  none comes back, the exit code is 75: the same command goes on where it was.
- If the batch is killed, what works for it ends within seconds.

dask-jobqueue starts the workers as jobs of Slurm. Their lifetime ends before the walltime, with the
stagger not of all at once; adapt lets new ones take their place, which scale does not:

```python
import subprocess
import sys

from dask_jobqueue import SLURMCluster

cluster = SLURMCluster(
    cores=8,
    processes=8,
    memory="16GB",
    walltime="04:00:00",
    local_directory="$TMPDIR",
    worker_extra_args=["--lifetime", "220m", "--lifetime-stagger", "10m"],
)
cluster.adapt(minimum_jobs=1, maximum_jobs=20)
address = cluster.scheduler_address
command = ["diffdecor", "batch", sys.argv[1], "--scheduler", address]
sys.exit(subprocess.run(command).returncode)
```

The same with HTCondor, one worker a slot:

```python
import subprocess
import sys

from dask_jobqueue import HTCondorCluster

cluster = HTCondorCluster(
    cores=1,
    processes=1,
    memory="2GB",
    disk="1GB",
    worker_extra_args=["--lifetime", "220m", "--lifetime-stagger", "10m"],
    job_extra_directives={"getenv": "true"},
)
cluster.adapt(minimum_jobs=1, maximum_jobs=200)
address = cluster.scheduler_address
command = ["diffdecor", "batch", sys.argv[1], "--scheduler", address]
sys.exit(subprocess.run(command).returncode)
```
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    return parsed(_TEXT)
