"""The scripts of ``help cron`` and ``help cluster``, run as far as this machine can.

A scheduler is a script that does what theirs does with the job, and no more. Some run a `diffdecor`
that only logs how it is called, some the real one on small triples.
"""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from helpers.workplace import call

import diffdecor
from diffdecor.cli.topics import topic_named
from diffdecor.cli.topics.blocks import Code

SHELL = shutil.which("sh")
pytestmark = pytest.mark.skipif(SHELL is None, reason="no shell")


def scripts(topic, language, containing):
    """The blocks of code of a topic that have something in them."""
    codes = (block for block in topic_named(topic).blocks if isinstance(block, Code))
    return [code.text for code in codes if code.language == language and containing in code.text]


def script(topic, containing, language="sh"):
    (text,) = scripts(topic, language, containing)
    return text


def executable(file, text):
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)
    return file


def environment(folder):
    """One that finds the programs of a folder first."""
    path = f"{folder}:{os.environ['PATH']}"
    package = str(Path(diffdecor.__file__).parents[1])
    return os.environ | {"PATH": path, "PYTHONPATH": package, "PYTHONDONTWRITEBYTECODE": "1"}


def run(text, *arguments, env, cwd):
    """Run a script as a file of its own."""
    file = executable(Path(cwd) / "scripts" / "script", text)
    command = [SHELL, file, *map(str, arguments)]
    return subprocess.run(command, env=env, cwd=cwd, check=False, capture_output=True, text=True)


@pytest.fixture
def logged(tmp_path):
    """A `diffdecor` that logs its calls, and ends with the next code of a file."""
    bin_ = tmp_path / "bin"
    executable(
        bin_ / "diffdecor",
        '#!/bin/sh\nprintf "%s\\n" "$*" >> "$CALLS/calls"\n'
        'code=$(head -n 1 "$CALLS/codes" 2> /dev/null)\n'
        'sed -i.old 1d "$CALLS/codes" 2> /dev/null\nexit "${code:-0}"\n',
    )
    executable(bin_ / "sleep", '#!/bin/sh\necho "sleep $*" >> "$CALLS/calls"\n')
    executable(bin_ / "scontrol", '#!/bin/sh\necho "scontrol $*" >> "$CALLS/calls"\n')
    return environment(bin_) | {"CALLS": str(tmp_path)}


@pytest.fixture
def real(tmp_path):
    """The real `diffdecor`."""
    pytest.importorskip("diffdecor.cli.batch")
    text = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m diffdecor "$@"\n'
    executable(tmp_path / "bin" / "diffdecor", text)
    return environment(tmp_path / "bin")


def calls(folder):
    file = folder / "calls"
    return file.read_text().splitlines() if file.exists() else []


NIGHT = "decorrelate-night"


@pytest.mark.parametrize(("codes", "expected", "number"), [
    ([0, 0], 0, 2), ([0, 75], 75, 2), ([0, 3], 3, 2), ([0, 4], 4, 2), ([2], 2, 1),
])  # fmt: skip
def test_the_script_of_a_night(tmp_path, logged, codes, expected, number):
    (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
    (tmp_path / "a night").mkdir()
    done = run(script("cron", NIGHT), tmp_path / "a night", env=logged, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (expected, "", "")
    assert [line.split()[0] for line in calls(tmp_path)] == ["manifest", "batch"][:number]
    missing = run(script("cron", NIGHT), tmp_path / "no", env=logged, cwd=tmp_path)
    assert missing.returncode == 2
    assert len(calls(tmp_path)) == number


@pytest.mark.parametrize(("codes", "expected"), [
    ([0], 0), ([75, 75, 0], 0), ([75, 3], 3), ([4], 4), ([2], 2), ([75, 130], 130),
])  # fmt: skip
def test_the_loop_ends_when_nothing_is_left(tmp_path, logged, codes, expected):
    (tmp_path / "codes").write_text("".join(f"{code}\n" for code in codes))
    done = run(script("cron", "decorrelate-all"), "my night.csv", env=logged, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (expected, "")
    found = [line.split()[0] for line in calls(tmp_path)]
    assert found == ["batch", "sleep"] * (len(codes) - 1) + ["batch"]
    assert "batch my night.csv " in calls(tmp_path)[0]


def test_the_line_of_cron_is_one():
    """Five fields, a command without the per cent signs that cron would break it at."""
    (text,) = scripts("cron", "text", "/opt/survey")
    path, line = text.splitlines()
    assert re.fullmatch(r"PATH=(/[\w.]+)+(:(/[\w.]+)+)*", path)
    *when, command = line.split(maxsplit=5)
    assert len(when) == 5
    assert all(re.fullmatch(r"\*|\d+", one) for one in when)
    assert "%" not in command
    name = Path(shlex.split(command)[0]).name
    assert f"# {name} FOLDER:" in script("cron", NIGHT)


SBATCH = r"""#!/bin/sh
# Runs every task of the array of a script, as Slurm gives it to a node: a copy in another folder.
array=${1#--array=}
if [ "$array" = "$1" ]; then array=$(sed -n 's/^#SBATCH --array=//p' "$1"); else shift; fi
mkdir -p spool && cp "$1" spool/slurm_script && shift
first=${array%-*}
task=$first
while [ "$task" -le "${array#*-}" ]; do
    SLURM_ARRAY_TASK_ID=$task SLURM_JOB_ID=100$task SLURM_CPUS_PER_TASK=2 \
        sh spool/slurm_script "$@" > "decorr_$task.log" 2>&1
    echo "$task $?" >> states
    task=$((task + 1))
done
"""


@pytest.fixture
def slurm(tmp_path):
    executable(tmp_path / "bin" / "sbatch", SBATCH)
    (tmp_path / "decorr.sh").write_text(script("cluster", "#SBATCH"))

    def submit(*words, env):
        return subprocess.run(["sbatch", *words], env=env, cwd=tmp_path, check=True)

    return submit


def test_every_task_of_an_array_does_its_share(tmp_path, logged, slurm):
    (tmp_path / "codes").write_text("0\n75\n3\n")
    slurm("decorr.sh", "my night.csv", env=logged)
    of_slurm = [line for line in calls(tmp_path) if line.startswith("scontrol")]
    of_ours = [line for line in calls(tmp_path) if line not in of_slurm]
    pattern = r"batch my night.csv --shard (\d+)/20 --jobs 2 --deadline 110m"
    shares = [re.fullmatch(pattern, line)[1] for line in of_ours]
    assert shares == [str(number) for number in range(1, 21)]
    assert of_slurm == ["scontrol requeue 1002"]
    states = dict(line.split() for line in (tmp_path / "states").read_text().splitlines())
    assert [states[str(number)] for number in range(1, 5)] == ["0", "75", "3", "0"]
    slurm("--array=3-3", "decorr.sh", "my night.csv", env=logged)
    assert "--shard 3/20 " in calls(tmp_path)[-1]


def test_slurm_understands_the_head_of_the_script():
    """Where Slurm is, it judges the script; elsewhere the options are those of its manual."""
    text = script("cluster", "#SBATCH")
    options = dict(re.findall(r"^#SBATCH (--[a-z-]+)(?:=(\S+))?$", text, re.MULTILINE))
    assert len(options) == text.count("#SBATCH")
    assert set(options) == {
        *("--job-name", "--array", "--cpus-per-task", "--mem", "--time", "--requeue", "--output"),
    }
    first, last = map(int, options["--array"].split("-"))
    assert f"/{last}" in text
    assert first == 1
    hours, minutes, _ = map(int, options["--time"].split(":"))
    assert int(re.search(r"--deadline (\d+)m", text)[1]) < 60 * hours + minutes


#: Differences of a night.
NUMBER = 3


@pytest.fixture
def night(tmp_path):
    """Some small differences in a folder of an odd name, with names that shells would break."""
    folder = tmp_path / "it's a night"
    folder.mkdir()
    random = np.random.default_rng(2)
    names = [f"d {number} $x.fits" for number in range(NUMBER)]
    for name in names:
        noise = random.normal(size=(90, 96))
        noise = noise + 0.5 * np.roll(noise, 1, axis=1)
        fits.writeto(folder / name, noise.astype(np.float32))
    rows = [f'"{name}","out/{name}"\n' for name in names]
    (folder / "night.csv").write_text("difference,output\n" + "".join(rows))
    return folder


def outputs(folder):
    return sorted(path.name for path in (folder / "out").glob("*.fits"))


@pytest.mark.long
def test_shares_of_an_array_make_a_night(tmp_path, night, real, slurm):
    executable(tmp_path / "bin" / "scontrol", "#!/bin/sh\nexit 1\n")
    (tmp_path / "decorr.sh").write_text(script("cluster", "#SBATCH").replace("/20", "/2"))
    slurm("--array=1-2", "decorr.sh", str(night / "night.csv"), env=real)
    states = (tmp_path / "states").read_text().split()
    logs = "".join((tmp_path / f"decorr_{number}.log").read_text() for number in (1, 2))
    assert states == ["1", "0", "2", "0"], logs
    assert len(outputs(night)) == NUMBER
    status = call("batch", night / "night.csv", "--status")
    assert status.exit_code == 0, status.stdout


@pytest.mark.parametrize("program", ["xargs", "parallel"])
def test_commands_are_done_by_others(night, real, program):
    if shutil.which(program) is None:
        pytest.skip(f"no {program}")
    text = script("cluster", f"{program} -")
    done = run(text.replace("-P 8", "-P 2"), env=real, cwd=night)
    assert done.returncode == 0, done.stderr
    assert all(" WARNING: " in line for line in done.stderr.splitlines())
    assert len(outputs(night)) == NUMBER
    made = [(night / "out" / name).stat().st_mtime_ns for name in outputs(night)]
    assert run("diffdecor batch night.csv", env=real, cwd=night).returncode == 0
    assert [(night / "out" / name).stat().st_mtime_ns for name in outputs(night)] == made
    again = run("diffdecor batch night.csv --print-commands", env=real, cwd=night)
    assert (again.returncode, again.stdout) == (0, "")


def test_the_loop_and_the_page_of_a_night(night, real):
    done = run(script("cron", "decorrelate-all"), "night.csv", env=real, cwd=night)
    assert (done.returncode, done.stdout) == (0, "")
    (line,) = done.stderr.splitlines()
    assert f" WARNING: night.csv: {NUMBER} of {NUMBER} jobs had warnings" in line
    assert len(outputs(night)) == NUMBER
    table = Table.read(night / "results.ecsv", format="ascii.ecsv")
    assert list(table["status"]) == ["done"] * NUMBER
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    done = run(script("cron", "diffdecor report"), env=real, cwd=night)
    assert (done.returncode, done.stderr) == (0, "")
    assert (night / "night.html").exists()


def test_the_script_of_a_night_does_it(tmp_path, real, originals):
    """Triples, by their names."""
    pytest.importorskip("diffdecor.cli.manifest")
    folder = tmp_path / "night"
    folder.mkdir()
    for number in range(2):
        for role, short in (("science", "sci"), ("template", "tmpl"), ("difference", "diff")):
            shutil.copy(originals / f"{role}.fits", folder / f"{number}_{short}.fits")
    shutil.copy(originals / "kernel.fits", folder)
    text = script("cron", NIGHT).replace("--out-dir", "--kernel kernel.fits --out-dir")
    first = run(text, folder, env=real, cwd=tmp_path)
    assert first.returncode in {0, 4}, first.stderr
    assert len(list((folder / "decorr").glob("*.fits"))) == 2
    assert (folder / "batch.log").exists()
    assert (folder / "batch.jsonl").exists()


OF_JOBQUEUE = scripts("cluster", "python", "dask_jobqueue")


@pytest.mark.parametrize("text", OF_JOBQUEUE)
def test_python_of_the_recipes_is_sound(text):
    """The scheduler's jobs are what the recipe says."""
    tree = ast.parse(text)
    made = {
        node.targets[0].id: node.value for node in ast.walk(tree) if isinstance(node, ast.Assign)
    }
    words = [getattr(word, "value", None) for word in made["command"].elts]
    assert words[:2] == ["diffdecor", "batch"]
    assert words[-2] == "--scheduler"
    of_jobs = pytest.importorskip("dask_jobqueue")
    call_ = made["cluster"]
    options = {word.arg: ast.literal_eval(word.value) for word in call_.keywords}
    with getattr(of_jobs, call_.func.id)(**options) as cluster:
        job = cluster.job_script()
    for text_ in ("--nthreads 1", "--lifetime 220m", "--lifetime-stagger 10m", "1.86GiB"):
        assert text_ in job, job


def test_a_night_on_the_workers_of_slurm(tmp_path, night, real):
    """dask-jobqueue submits its jobs to a scheduler that runs them on this machine."""
    pytest.importorskip("dask_jobqueue")
    bin_ = tmp_path / "bin"
    executable(
        bin_ / "sbatch",
        f"#!{sys.executable}\n"
        "import shutil, subprocess, sys\n"
        "script = shutil.copy(sys.argv[-1], sys.argv[-1] + '.spool')\n"
        "job = subprocess.Popen(['sh', script], start_new_session=True, stdin=subprocess.DEVNULL,\n"
        "    stdout=open(script + '.out', 'w'), stderr=subprocess.STDOUT)\n"
        "print('Submitted batch job', job.pid)\n",
    )
    executable(bin_ / "scancel", '#!/bin/sh\nfor job; do kill -- "-$job"; done\n')
    (text,) = (one for one in OF_JOBQUEUE if "SLURMCluster" in one)
    text = (
        text.replace("=8,", "=2,")
        .replace("16GB", "4GB")
        .replace("maximum_jobs=20", "maximum_jobs=1")
    )
    (night / "batch.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "batch.py", "night.csv"],
        env=real | {"TMPDIR": str(tmp_path)},
        cwd=night,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert len(outputs(night)) == NUMBER
    assert call("batch", night / "night.csv", "--status").exit_code == 0
