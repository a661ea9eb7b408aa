"""Tasks as command lines: what they are parsed to is the same job, whatever its names."""

import os
import shlex
import string
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.batch.commands import as_arguments, commands
from diffdecor.batch.model import Task
from diffdecor.cli.configs import settings as configured
from diffdecor.cli.options import files_given
from diffdecor.cli.run import run
from diffdecor.config import DecorrelationConfig, FilesConfig, kinds
from diffdecor.config.options import options
from diffdecor.errors import ConfigError
from diffdecor.pipeline.job import Job

NUMBERS = st.floats(1e-3, 1e3) | st.integers(1, 999).map(float)
SIGNED = NUMBERS | NUMBERS.map(lambda x: -x)
# What any name may hold but what no command line can, and bytes that are no text.
NAMES = st.text(
    st.characters(exclude_characters="\0\n", exclude_categories=["Cs"])
    | st.sampled_from("\udcff\udc80'\"\\ $`*?-=,[]#~"),
    min_size=1,
    max_size=12,
).filter(lambda name: name != "-")
WORDS = st.lists(st.text(string.ascii_uppercase + "_", min_size=1), max_size=3).map(tuple)
PAIRS = st.tuples(NUMBERS, NUMBERS)
OF_KIND = {
    kinds.SWITCH: st.booleans(),
    kinds.FILE: NAMES,
    kinds.POSITION: st.tuples(SIGNED, SIGNED),
    kinds.REGION: st.tuples(st.integers(0, 99), st.integers(100, 10**9)).map(
        lambda pair: f"{pair[0]}:{pair[1]},0:{pair[1]}"
    ),
    kinds.CENTROIDS: NAMES,
    kinds.PLANES: WORDS,
    kinds.BITS: st.sets(st.integers(0, 31)).map(lambda bits: tuple(sorted(bits))),
    kinds.SCALE: SIGNED | st.just("1/k"),
    kinds.SIZE: PAIRS,
    kinds.BORDER: PAIRS | st.just((0.0, 0.0)),
    kinds.SHARE: st.floats(1e-6, 1),
    kinds.COUNT: st.integers(1, 10**6),
    kinds.SEED: st.integers(0, 10**40),
    kinds.WRITES: st.dictionaries(st.sampled_from(kinds.WRITTEN), NAMES, min_size=1).map(
        lambda files: tuple(f"{name}={file}" for name, file in files.items())
    ),
    kinds.MEMORY: st.integers(64 << 20, 1 << 50),
    kinds.QUANTUM: st.floats(1, 1024),
    kinds.LEVEL: SIGNED,
}


def values(item):
    """Values of an option, None among them where that is the default."""
    if item.kind.choices:
        some = st.sampled_from(item.kind.choices)
    else:
        some = OF_KIND.get(item.kind, NUMBERS)
    return some if item.default is not None else st.none() | some


def configs(of_values, config_type):
    every = {item.name: values(item) for item in options(config_type)}
    chosen = st.sets(st.sampled_from(sorted(every)), max_size=8)
    return chosen.flatmap(
        lambda names: st.fixed_dictionaries({name: every[name] for name in names})
    ).map(lambda given_values: of_values(**given_values))


IMAGES = st.fixed_dictionaries({"difference": NAMES}) | st.fixed_dictionaries(
    {"science": NAMES, "template": NAMES, "difference": NAMES}
)
JOBS = st.builds(
    lambda images, **others: Job(**images, **others),
    IMAGES,
    kernel=st.none() | NAMES,
    output=NAMES,
    decorrelation=configs(DecorrelationConfig, DecorrelationConfig),
    files=configs(FilesConfig.of, FilesConfig),
    overwrite=st.booleans(),
    plot=st.none() | NAMES,
)


def parsed(words):
    """The job that `diffdecor run` makes of words."""
    assert words[0] == "run"
    values = run.make_context("run", [*words[1:]]).params
    chosen = configured(values, files_given(values))
    return Job(
        **chosen.named,
        decorrelation=chosen.decorrelation,
        files=chosen.files,
        overwrite=values["overwrite"],
        plot=values["plot"],
    )


def task(number=1, **about):
    job = Job(**{"difference": "d.fits", "output": "o.fits"} | about)
    return Task(number=number, place=f"line {number + 1}", job=job, output=job.output)


@given(JOBS)
def test_the_words_are_parsed_to_the_same_job(job):
    assert parsed(as_arguments(job)) == job


def test_every_option_can_be_given():
    """All of those of either config at once."""
    kinds_of = {
        item.kind for config in (DecorrelationConfig, FilesConfig) for item in options(config)
    }
    assert {kind for kind in kinds_of if not kind.choices and kind not in OF_KIND} <= {
        *(kinds.VARIANCE, kinds.GAIN, kinds.READ_NOISE, kinds.LIMIT, kinds.FWHM),
    }


@pytest.mark.parametrize("kernel", ["fit", "./fit", "/abs/fit"])
def test_a_kernel_that_is_found_and_files_of_that_name(kernel):
    job = Job(science="s", template="t", difference="d", kernel=kernel, output="o")
    words = as_arguments(job)
    assert words[words.index("--kernel") + 1] == kernel


def test_defaults_are_not_said():
    job = Job(science="s.fits", template="t.fits", difference="d.fits", output="o.fits")
    assert as_arguments(job) == ["run", "s.fits", "t.fits", "d.fits", "-o", "o.fits"]
    alone = Job(difference="-d.fits", kernel="k", output="o.fits", overwrite=True)
    assert as_arguments(alone) == [
        *("run", "--kernel", "k", "-o", "o.fits", "--overwrite", "--", "-d.fits"),
    ]


def test_switches_and_options_that_are_given_several_times():
    files = FilesConfig.of(verify=False, strict=True, write=("image=i.fits", "mask=m.fits"))
    words = as_arguments(Job(difference="d", output="o", files=files))
    assert words[4:] == [
        *("--no-verify", "--write", "image=i.fits", "--write", "mask=m.fits", "--strict"),
    ]


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_a_shell_reads_the_words_again(names):
    tasks = [task(number, difference=name) for number, name in enumerate(names, 1)]
    lines = list(commands(tasks))
    assert [shlex.split(line)[1:] for line in lines] == [as_arguments(one.job) for one in tasks]
    assert "\n".join(lines).count("\n") == len(lines) - 1


def test_a_real_shell_gets_the_bytes():
    name = os.fsdecode(b"odd 'quoted' \"name\" \xff $HOME `x` \\ * .fits")
    (line,) = commands([task(difference=name)])
    script = b'diffdecor() { printf "%s\\0" "$@"; }\n' + os.fsencode(line) + b"\n"
    done = subprocess.run(["sh"], input=script, capture_output=True, check=True)
    assert done.stdout.split(b"\0")[1] == os.fsencode(name)


def test_folders_are_made_first(tmp_path, monkeypatch):
    """As a batch does; `run` wants them to be there."""
    monkeypatch.chdir(tmp_path)
    files = FilesConfig.of(write=("image=a/i b/x.fits", "mask=a/y.fits", "bad=z.fits"))
    one = task(1, output="a/i b/o.fits", files=files)
    (line,) = commands([one])
    mkdir, _, run_ = line.partition(" && ")
    assert shlex.split(mkdir) == ["mkdir", "-p", f"{tmp_path}/a/i b", f"{tmp_path}/a"]
    subprocess.run(["sh", "-c", mkdir], check=True)
    assert list(commands([one])) == [run_]


def test_what_is_stale_is_replaced():
    tasks = [task(1, output="a.fits"), task(2, output="b.fits")]
    kept, replaced = commands(tasks, overwrite={"b.fits"})
    assert "--overwrite" not in kept
    assert replaced == "diffdecor run d.fits -o b.fits --overwrite"


@pytest.mark.parametrize("role", ["difference", "kernel", "output"])
def test_names_with_line_breaks_are_refused(role):
    with pytest.raises(ConfigError, match=r"line 8: .*has a line break.*rename"):
        list(commands([task(7, **{role: "a\nb.fits"})]))


def test_positions_are_not_for_the_command_line():
    config = DecorrelationConfig(cell_centroids=((1.0, 2.0),))
    with pytest.raises(ConfigError, match=r"--cell-centroids|`cell_centroids`"):
        as_arguments(Job(difference="d", output="o", decorrelation=config))
