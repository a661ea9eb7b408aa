"""A sample of what `make fuzz` does with ten thousand damaged files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PARTS, CASES = 6, 40


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux counts it")
@pytest.mark.parametrize(
    "part", [0, *(pytest.param(part, marks=pytest.mark.long) for part in range(1, PARTS))]
)
def test_damaged_files_of_every_role_end_in_one_line(part):
    command = [sys.executable, "-W", "ignore", TESTS / "fuzz.py", CASES, "--jobs", 1]
    command += ["--seed", 4, "--first", part * CASES]
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(TESTS)},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert f"{CASES} cases: 0 wrong" in done.stdout
