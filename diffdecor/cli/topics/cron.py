"""Running it every night."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, parsed

_TEXT = """
One command does a night: diffdecor batch goes through a table with a row for every difference. It
can be killed at any moment and run again as often as you like: what is done is known in a moment,
and it goes on with the rest (diffdecor help batches). So the same script does the first run, a run
after a power cut, and one after new files have come. Names are those of your own pipeline:

```sh
#!/bin/sh
# decorrelate-night FOLDER: decorrelate the differences in a folder.
cd "$1" || exit 2
diffdecor manifest --science '*_sci.fits' --template '*_tmpl.fits' \\
    --difference '*_diff.fits' --out-dir decorr \\
    -o night.csv --overwrite || exit
exec diffdecor batch night.csv --max-rho 0.03 \\
    --timeout 10m --deadline 18:00 \\
    --log-file batch.log --log-json batch.jsonl
```

A line for crontab -e; cron does not know the PATH of your shell, so name it:

```text
PATH=/opt/diffdecor/.venv/bin:/usr/bin:/bin
30 8 * * * /opt/survey/decorrelate-night /data/last
```

Without a terminal, a batch in which everything went well prints nothing. Otherwise cron sends by
mail what is on stderr: one line for every job that failed, and one if there were warnings (with -q
there is none). --log-file keeps what was done, with UTC
times; --log-json has the same for programs, one object a line. What came of every job is in
results.ecsv, a table to be read with astropy, and in results.jsonl.

## When some are left

The exit code is 0 only if all is done, with noise as white as the limits want it. It is 75 if some
jobs are not done: the deadline came first, or another process has them. They need nothing but the
same command again:

```sh
#!/bin/sh
# decorrelate-all MANIFEST: again until nothing is left to be done.
while :; do
    diffdecor batch "$1" --deadline 1h
    code=$?
    [ $code -eq 75 ] || exit $code
    sleep 60
done
```

Two of these at a time do no harm, on one machine or on several that see the same files: they share
the work, and do nothing twice. So cron may call the script every half an hour while data come in,
even if the last one has not ended.

Codes 3 and 4 need a person. diffdecor batch night.csv --status says how far it is, what failed, and
why; it changes nothing, and has the same exit code. For a page to look at, worst first:

```sh
diffdecor report results.ecsv -o night.html --overwrite
```

## Alerts

With limits, such as --max-rho 0.03 and --max-factor 0.05, bad results end the batch with code 4;
the outputs are kept. --json prints what came of every job, and the metrics, for a database.

One difference after another, without a table, is diffdecor run in a loop of the shell: every one is
a process of its own then, which costs a small image twice the time. An output that is there already
is kept, with code 0; one that another process is writing is code 75.
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    return parsed(_TEXT)
