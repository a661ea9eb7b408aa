"""``diffdecor batch --join``: the outputs of detectors in one file, and what is said of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffdecor.batch.batch import Plan
    from diffdecor.batch.model import Record, Task

_LOG = logging.getLogger(__name__)


def join_outputs(plan: Plan, records: Mapping[str, Record]) -> int:
    """Join the outputs of detectors, and say what could not be; return the exit code of that."""
    from diffdecor.batch.batch import other_outputs
    from diffdecor.batch.join import JoinStatus, join
    from diffdecor.batch.model import THERE
    from diffdecor.errors import BusyError

    known = other_outputs(plan) | dict(records)

    def is_there(task: Task) -> bool:
        return known[task.job.output].status in THERE and Path(task.job.output).is_file()

    worst = 0
    for one in join(plan.manifest.tasks, is_there=is_there):
        fields = {"output": one.file, "status": str(one.status)}
        _LOG.log(
            logging.ERROR if one.error else logging.INFO,
            "%s",
            one.error or f"{one.file}: joined of {len(one.parts)} outputs ({one.status})",
            extra={"fields": fields},
        )
        if one.status == JoinStatus.ERROR:
            worst = worst or one.exit_code
        elif one.status == JoinStatus.INCOMPLETE:
            worst = BusyError.exit_code
    return worst
