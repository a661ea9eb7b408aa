"""`diffdecor batch` as an operator calls it: what it says, prints and writes."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from helpers.nights import content, identity
from helpers.workplace import call, described, json_object

import diffdecor

UTC_LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [A-Z]+ \S")


@pytest.fixture
def expected(undisturbed):
    """Say whether the outputs that are there are those of an undisturbed night."""

    def are_as_expected(night):
        assert night.there() == night.outputs
        for output in night.outputs:
            assert content(output) == undisturbed[output.name]
        assert night.hidden() == []
        night.is_true()
        return True

    return are_as_expected


def test_outputs_do_not_depend_on_who_makes_them(night, expected, tmp_path):
    """Two jobs at a time; commands in a shell; and what is said of it, or not."""
    night = night(5)
    before = described(night.folder)
    looks = {
        look: call("batch", night.manifest, f"--{look}")
        for look in ("status", "dry-run", "print-commands")
    }
    assert [look.exit_code for look in looks.values()] == [75, 0, 0]
    assert "5  undone" in looks["status"].stdout
    assert looks["dry-run"].stdout.count(": missing\n") == 5
    assert described(night.folder) == before
    # In a shell, as GNU parallel or xargs call them: the outputs are as good as ours.
    (night / "out").mkdir()
    lines = looks["print-commands"].stdout.splitlines()
    assert len(lines) == 5
    program = f"PYTHONPATH={shlex.quote(os.path.dirname(os.path.dirname(diffdecor.__file__)))} "  # noqa: PTH120
    program += f"{shlex.quote(sys.executable)} -m diffdecor"
    script = "".join(f"{line.replace('diffdecor', program, 1)}\n" for line in lines[:2])
    done = subprocess.run(["sh", "-e"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    made = {output: identity(output) for output in night.there()}
    assert len(made) == 2
    # The rest, two at a time.
    log = tmp_path / "batch.log"
    assert night.ends(0, "--jobs", 2, "--log-file", log) == ("", "")
    assert expected(night)
    assert night.works() == {f"{number}.fits": 1 for number in (2, 3, 4)}
    assert {output: identity(output) for output in made} == made
    told = log.read_text().splitlines()
    assert all(map(UTC_LINE.match, told))
    assert sum(": done" in line for line in told) >= 5
    assert "5 done" in told[-1]


def test_all_is_done_again_where_that_is_asked_for(night, expected):
    night = night(3)
    night.ends(0, "--jobs", 1)
    before = {output: identity(output) for output in night.outputs}
    assert night.ends(0, "--jobs", 1, "--redo") == ("", "")
    after = {output: identity(output) for output in night.outputs}
    assert not before.items() & after.items()
    assert expected(night)
    assert set(night.works().values()) == {2}
    assert night.ends(0, "--retry-failed") == ("", "")
    assert after == {output: identity(output) for output in night.outputs}
    # Nothing is left to be done, and nothing is written by who only looks.
    before = described(night.folder), identity(night / "results.ecsv")
    status = call("batch", night.manifest, "--status", "--json")
    assert (status.exit_code, json_object(status.stdout)["counts"]) == (0, {"done": 3})
    assert call("batch", night.manifest, "--print-commands").stdout == ""
    dry = call("batch", night.manifest, "--dry-run")
    assert dry.stdout == "night.csv: 0 of 3 to be done\n"
    assert (described(night.folder), identity(night / "results.ecsv")) == before
