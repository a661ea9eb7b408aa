"""Several batches on the same outputs: every one is made once, and all of them succeed."""

import pytest
from astropy.table import Table
from helpers.nights import Night, all_at_once, content, identity

from diffdecor.batch.ledger import Ledger
from diffdecor.batch.model import Record, Status


def whole(night, undisturbed):
    """Check that all was made once, as one process makes it."""
    assert {output.name: content(output) for output in night.outputs} == {
        output.name: undisturbed[output.name] for output in night.outputs
    }
    assert night.works() == dict.fromkeys((output.name for output in night.outputs), 1)
    assert night.hidden() == []
    night.is_true()


@pytest.mark.parametrize("number", [2, pytest.param(4, marks=pytest.mark.long)])
def test_batches_share_the_work(night, undisturbed, number):
    night = night(8)
    all_at_once(*[lambda: night.ends(0, "--jobs", 1)] * number)
    whole(night, undisturbed)
    assert set(night.statuses().values()) == {"done"}


def test_shards_do_all_exactly_once_at_the_same_time(night, undisturbed):
    night = night(8)
    shards = [f"{part}/3" for part in (1, 2, 3)]
    all_at_once(
        *[lambda shard=shard: night.ends(0, "--jobs", 1, "--shard", shard) for shard in shards]
    )
    whole(night, undisturbed)
    assert set(night.statuses().values()) == {"done"}


@pytest.mark.long
def test_a_batch_shares_its_outputs_with_runs(night, undisturbed):
    """Who comes second waits, or is told who is at it; nothing is made twice."""
    night = night(4)
    (night / "out").mkdir()
    lines, _ = night.ends(0, "--print-commands")
    codes = []

    def runs():
        for line in reversed(lines.splitlines()):
            program, *words = line.split()
            assert program == "diffdecor"
            running = night.start(*words[1:], command=words[0])
            running.communicate(timeout=100)
            codes.append(running.returncode)

    all_at_once(runs, lambda: night.ends(0, "--jobs", 1))
    assert set(codes) <= {0, 75}
    for output in night.outputs:
        assert content(output) == undisturbed[output.name]
    night.is_true()
    before = {output: identity(output) for output in night.outputs}
    assert night.ends(0) == ("", "")
    assert before == {output: identity(output) for output in night.outputs}
    assert night.hidden() == []


@pytest.mark.long
def test_two_manifests_share_a_folder_and_an_output(night, inputs, undisturbed):
    one, other = night(5), night(5, name="other.csv")
    other.rows = [row | {"output": row["output"]} for row in night(8, name="all.csv").rows[4:]]
    other.write()
    all_at_once(lambda: one.ends(0, "--jobs", 1), lambda: other.ends(0, "--jobs", 1))
    everything = Night(one.folder, inputs, 8, name="all.csv")
    assert everything.works() == {f"{number}.fits": 1 for number in range(8)}
    assert set(everything.table()) == {f"{number}.fits" for number in range(8)}
    assert set(everything.statuses().values()) == {"done"}
    # A third manifest, of all of them, has nothing to do.
    assert everything.ends(0) == ("", "")
    whole(everything, undisturbed)


def test_the_last_table_has_what_others_recorded_meanwhile(task, tmp_path):
    """Of another manifest, and of tasks that this batch left undone, but nothing older of these."""

    def record(one, status, **about):
        return Record(output=one.job.output, status=status, exit_code=0, **about)

    tasks = [task(number) for number in range(4)]
    ours, others = Ledger(tmp_path), Ledger(tmp_path)
    others.append(record(tasks[0], Status.DONE, manifest="night.csv"))
    ours.refresh()
    others.append(record(tasks[1], Status.DONE, manifest="night.csv"))
    others.append(record(tasks[3], Status.DONE, manifest="other.csv"))
    undone = {one.job.output: record(one, Status.UNDONE) for one in tasks[:3]}
    ours.write_table("night.csv", tasks[:3], undone, ours.size)
    table = Table.read(ours.table, format="ascii.ecsv")
    assert list(table["status"]) == ["undone", "done", "undone", "done"]
    assert list(table["manifest"]) == ["night.csv"] * 3 + ["other.csv"]
