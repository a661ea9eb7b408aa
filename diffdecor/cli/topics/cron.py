"""Running it every night."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, parsed

_TEXT = """
One command makes one output. A script goes through the differences of a night, and can be repeated
as often as you like: outputs that are there already are kept (exit code 0), and after an
interruption it goes on with what is missing. Names are those of your own pipeline:

```sh
#!/bin/sh
# decorrelate-night FOLDER: decorrelate the differences in a folder.
cd "$1" || exit 2
worst=0
for difference in *_diff.fits; do
    name=${difference%_diff.fits}
    diffdecor run "$name.fits" "${name}_tmpl.fits" "$difference" \\
        -o "${name}_decorr.fits"
    code=$?
    case $code in
        0) ;;               # done, or done already
        130 | 143) exit $code ;;    # interrupted: so are we
        75) [ $worst -ne 0 ] || worst=75 ;;     # busy: try again later
        *) worst=$code ;;   # the line on stderr says why
    esac
done
exit $worst
```

A line for crontab -e; cron does not know the PATH of your shell, so name it:

```text
PATH=/opt/diffdecor/.venv/bin:/usr/bin:/bin
30 8 * * * /opt/survey/decorrelate-night /data/last 2>> /data/decorr.log
```

Without a terminal a successful run prints nothing, and failures are one line each on stderr;
--log-file FILE keeps what was done, with UTC times. If you leave out 2>> ... cron sends these lines
by mail. Two scripts at a time do no harm: an output that another process is writing is code 75
(diffdecor help exit-codes).

To be alerted to bad results, set limits, --max-rho 0.03 and --max-factor 0.05 for example: the exit
code is 4 then, and the output is kept. --json prints what was done, and the metrics, for a
database.
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    return parsed(_TEXT)
