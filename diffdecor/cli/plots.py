"""The picture that a run draws of its result, if one is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from diffdecor.cli.process import keep_home_clean

if TYPE_CHECKING:
    from diffdecor.pipeline.job import Job


@contextmanager
def plotted(job: Job) -> Iterator[None]:
    """Check before a job that its picture can be drawn, and draw it after; if it has one."""
    if job.plot is None:
        yield
        return
    keep_home_clean()
    from diffdecor.report.run_plot import check_plot, write_plot

    check_plot(job, job.plot)
    yield
    write_plot(job, job.plot)
