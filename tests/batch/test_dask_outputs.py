"""Images on a Dask cluster whose parts vanish: outputs are those of ordinary runs."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from diffdecor.batch.dask import DaskExecutor
from diffdecor.batch.ledger import Ledger
from diffdecor.batch.lines import record_of
from diffdecor.batch.loop import Limits, do_all
from diffdecor.batch.model import Order, Status, Task
from diffdecor.pipeline.job import Job
from diffdecor.pipeline.run import run_job

pytest.importorskip("distributed")

from helpers.dask_cluster import PATIENCE, Cluster

NUMBER = 6


@pytest.fixture
def orders(tmp_path):
    """Differences whose noise is correlated, by which they differ."""
    generator = np.random.default_rng(7)
    orders = []
    for number in range(NUMBER):
        noise = generator.normal(size=(96, 100))
        image = noise + 0.1 * number * np.roll(noise, 1, axis=1)
        file = tmp_path / f"difference{number}.fits"
        fits.PrimaryHDU(image.astype(np.float32)).writeto(file)
        output = tmp_path / "outputs" / f"out{number}.fits"
        orders.append(
            Order(
                task=Task(
                    number=number + 1,
                    place=f"line {number + 2}",
                    job=Job(difference=str(file), output=str(output)),
                    output=output.name,
                ),
                ledger=tmp_path / "results.jsonl",
                since=0,
            )
        )
    return orders


def content(file):
    """All that is in an output but when it was made, and sums of that."""
    passing = {"DATE", "CHECKSUM", "HISTORY"}
    with fits.open(file) as hdus:
        return [
            (
                {
                    card.keyword: card.value
                    for card in hdu.header.cards
                    if card.keyword not in passing
                },
                None if hdu.data is None else hdu.data.tobytes(),
            )
            for hdu in hdus
        ]


def test_a_worker_and_then_the_scheduler_are_killed(tmp_path, orders):
    records = []
    with (
        Cluster(tmp_path) as cluster,
        DaskExecutor(scheduler_file=cluster.file) as executor,
    ):
        victim, other = cluster.start_worker(), cluster.start_worker()

        def on_end(record):
            records.append(record)
            if len(records) == 2:
                cluster.kill(victim)
            elif len(records) == 4:
                cluster.kill(cluster.scheduler)
                other.wait(PATIENCE)
                cluster.start_scheduler()
                cluster.start_worker()

        ledger = Ledger(tmp_path)
        do_all(orders, executor, Limits(retries=0), on_end, ledger.append)
    assert {record.output for record in records} == {o.task.job.output for o in orders}
    assert {(record.status, record.error) for record in records} == {(Status.DONE, "")}
    ledger.refresh()
    assert len(ledger.records) == NUMBER
    # What is complete is not done again: only one record is of work.
    worked = Counter(
        record.output
        for record in map(record_of, ledger.file.read_bytes().splitlines())
        if record.started
    )
    assert set(worked.values()) == {1}
    assert len(worked) == NUMBER
    for order in orders:
        alone = replace(order.task.job, output=str(tmp_path / "alone.fits"), overwrite=True)
        run_job(alone)
        assert content(order.task.job.output) == content(alone.output)
    assert len(list((tmp_path / "outputs").iterdir())) == NUMBER
