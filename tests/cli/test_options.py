"""Options that are wrong, contradict each other, come from a file, or are shown."""

import re
import tomllib

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import call, check_failure, json_object, opened, real_options

from diffdecor.cli.configs import help_text
from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.config.options import options

DECLARED = [*options(DecorrelationConfig), *options(FilesConfig)]
ROLES = ["science", "template", "difference", "kernel", "output"]
NUMBERS = [
    "--science-variance",
    "--template-variance",
    "--science-scale",
    "--template-scale",
    "--science-gain",
    "--template-gain",
    "--science-read-noise",
    "--template-read-noise",
    "--gain",
    "--read-noise",
    "--flag-share",
]
PAIRS = ["--kernel-position", "--cell-size", "--grid-step", "--cell-border", "--kernel-center"]


@pytest.mark.parametrize("name", NUMBERS + PAIRS)
@pytest.mark.parametrize(
    "value", ["", "a", "nan", "inf", "-inf", "1e400", "1,2,3", "1;2", "0x10", "one", "1 2"]
)
def test_no_number(work, name, value):
    work.fails(2, name, options=(name, value))


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, "-1") for name in (*NUMBERS, "--cell-size", "--grid-step", "--cell-border")
     if "scale" not in name]
    + [(name, "0") for name in ("--science-scale", "--science-gain", "--cell-size", "--grid-step")]
    + [("--template-scale", "-0"), ("--template-gain", "0"), ("--flag-share", "0")]
    + [("--flag-share", "1.01"), ("--kernel-position", "1"), ("--kernel-center", "1")]
    + [("--grid-step", "5,-5"), ("--cell-size", "1,0"), ("--kernel-center", "1.5,2")],
)  # fmt: skip
def test_a_number_that_cannot_be(work, name, value):
    work.fails(2, name.removeprefix("--").split("-")[0], value[-1], options=(name, value))


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "a", "", "nan", "inf", "1,2"])
def test_no_number_of_threads(work, value):
    work.fails(2, "--threads", options=("--threads", value))


@pytest.mark.parametrize("value", ["0", "-1G", "1M", "63M", "a", "", "G", "1X", "nan", "infG"])
def test_no_size_of_memory(work, value):
    work.fails(2, "--max-memory", options=("--max-memory", value))


@pytest.mark.parametrize(
    ("given", "size"),
    [("64M", 1 << 26), ("1.5g", 3 << 29), ("2GiB", 2 << 30), ("100000kB", 102400000), (1e9, 10**9)],
)
def test_sizes_of_memory(given, size):
    assert DecorrelationConfig(max_memory=given).max_memory == size


@pytest.mark.parametrize("options", [("--threads", "3"), ("--max-memory", "100M")])
def test_what_leaves_the_result_as_it_is_makes_no_other_job(work, options):
    work.succeeds("--threads", "1")
    assert '"already done"' in work.run(*options, "--json").stdout


@pytest.mark.parametrize(
    "item", [item for item in DECLARED if item.kind.choices], ids=lambda item: item.flag_name
)
def test_a_choice_that_there_is_not(work, item):
    for wrong in ("nonsense", "", item.kind.choices[0].upper()):
        message = work.fails(2, item.flag_name, options=(item.flag_name, wrong))
        assert item.kind.choices[-1] in message


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-such-option"],
        ["--mode"],
        ["fourth.fits"],
        ["--score=1"],
        ["-x"],
        ["--force", "--no-overwrite"],
    ],
)
def test_usage(work, arguments):
    work.fails(2, arguments[-1].split("=")[0], options=arguments)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--cell-centroids", "{c}"), "--cell-centroids"),
        (("--cell-centroids", "{c}", "--mode", "whole"), "--cell-centroids"),
        (("--score",), "--preconvolution-kernel"),
        (("--score", "--convolved", "science", "--preconvolution-kernel", "{psf}"), "--convolved"),
        (("--preconvolution-kernel", "{psf}"), "--score"),
        (("--blend", "average"), "--no-scale-by-fwhm"),
        (("--grid-step", "3"), "--no-scale-by-fwhm"),
        (("--cell-size", "3"), "--no-scale-by-fwhm"),
        (("--science-read-noise", "5"), "--science-gain"),
        (("--template-read-noise", "5"), "--template-gain"),
        (("--read-noise", "5"), "--gain"),
        (("--science-gain", "2", "--science-noise", "{psf}", "--noise-kind", "sigma"), "not both"),
        (("--science-gain", "2", "--science-noise", "{psf}"), "--science-noise"),
        (("--template-gain", "2", "--template-noise-kind", "sigma"), "--template-gain"),
        (("--ignore-planes", "BAD,NOSUCH"), "NOSUCH"),
        (("--fill-planes", "NOSUCH"), "NOSUCH"),
        (("--fill-planes", "*"), "*"),
    ],
)
def test_options_that_contradict(work, given, says):
    (work / "c.txt").write_text("x y\n10 10\n")
    names = {"c": work / "c.txt", "psf": work / "psf.fits"}
    work.fails(2, says, options=[part.format(**names) for part in given])


@pytest.mark.parametrize("option", ["--ignore-planes", "--fill-planes"])
def test_an_unknown_plane_is_answered_with_those_there_are(work, option):
    message = work.fails(2, option, options=(option, "bad,nosuch"))
    assert "NOSUCH" in message
    assert "BAD, CR, EDGE, SAT" in message


@pytest.mark.parametrize("planes", ["", "bad", "BAD, SAT ,", "SAT,CR,BAD,NO_DATA"])
def test_planes_in_any_case(work, planes):
    output, _ = work.succeeds("--ignore-planes", planes, "--fill-planes", planes)
    expected = ",".join(part.strip().upper() for part in planes.split(",") if part.strip())
    assert output["PRIMARY"][0]["DDIGNORE"] == expected


def test_options_for_plain_stamps_that_do_nothing_are_warned_of(hotpants_job, work):
    sense = ["--kernel-sense", "correlation"]
    result = call(*hotpants_job(), *sense, "--output", work.output)
    assert result.exit_code == 0
    assert "--kernel-sense" in result.stderr


@pytest.mark.parametrize("position", ["-1000,5", "5,1e9", "47.6,3"])
def test_a_position_beyond_the_image(work, position):
    options = ("--mode", "whole", "--kernel-position", position)
    work.fails(2, "--kernel-position", "48 x 40", options=options)


@pytest.mark.parametrize("step", ["1e-9", "1e-300,1", "0.1"])
def test_grids_that_would_never_end(work, step):
    options = ("--no-scale-by-fwhm", "--grid-step", step, "--blend")
    work.fails(2, "--grid-step", options=(*options, "interpolate"))
    if step != "1e-9":  # cells are never smaller than a pixel
        return
    fits.PrimaryHDU(np.ones((300, 300), np.float32)).writeto(work / "large.fits")
    roles = dict.fromkeys(("science", "template", "difference"), work / "large.fits")
    levels = ("--science-variance", "9", "--template-variance", "4")
    work.fails(2, "--grid-step", options=(*options, "average", *levels), **roles)


@pytest.mark.parametrize("blend", ["interpolate", "average"])
def test_sizes_beyond_all_images(work, blend):
    options = (
        "--no-scale-by-fwhm",
        "--blend",
        blend,
        "--cell-size",
        "1e300",
        "--grid-step",
        "1e300",
    )
    work.succeeds(*options, "--cell-border", "1e300")


TOML = {
    "not TOML": (b"mode = ", "not valid TOML"),
    "not text": (b"\xff\xfe\x00mode", "not text in UTF-8"),
    "null bytes": (b"\x00" * 10, "not valid TOML"),
    "unknown": (b"mood = 'grid'", "mood"),
    "a table": (b"[run]\nmode = 'grid'", "run"),
    "of the command line only": (b"overwrite = true", "overwrite"),
    "twice": (b"cell-size = 3\ncell_size = 4", "cell-size"),
    "twice, the same": (b"cell-size = 3\ncell_size = 3", "set twice"),
    "wrong choice": (b"mode = 'nonsense'", "--mode"),
    "wrong type of choice": (b"mode = 3", "--mode"),
    "list for a choice": (b"mode = ['grid']", "--mode"),
    "text for a flag": (b"score = 'yes'", "--score"),
    "number for a flag": (b"score = 1", "--score"),
    "flag for a number": (b"science-variance = true", "--science-variance"),
    "date for a number": (b"science-gain = 2020-01-01", "--science-gain"),
    "list for a number": (b"science-gain = [1]", "--science-gain"),
    "huge integer": (b"science-gain = 1" + b"0" * 400, "--science-gain"),
    "nan": (b"science-gain = nan", "--science-gain"),
    "inf": (b"cell-size = [inf, 1]", "--cell-size"),
    "table for a pair": (b"cell-size = {x = 1}", "--cell-size"),
    "number for a file": (b"science-noise = 3", "--science-noise"),
    "list for a file": (b"science-noise = ['a']", "--science-noise"),
    "zero byte in a file": (rb'science-noise = "a\u0000b"', "--science-noise"),
    "number for names": (b"fill-planes = 3", "--fill-planes"),
    "number among names": (b"fill-planes = ['BAD', 3]", "--fill-planes"),
    "number for centroids": (b"cell-centroids = 3", "--cell-centroids"),
    "no centroids": (b"cell-centroids = []", "--cell-centroids"),
    "centroids of one number": (b"cell-centroids = [[1], [2]]", "--cell-centroids"),
}


@pytest.mark.parametrize("name", TOML)
def test_a_configuration_that_cannot_be(work, name):
    content, says = TOML[name]
    (work / "my.toml").write_bytes(content)
    work.fails(2, "my.toml", says, options=("--config", work / "my.toml"))


def test_a_configuration_that_is_not_there(work):
    for name in ("missing.toml", ".", "science.fits/x.toml", "x" * 300):
        work.fails(2, (work / name).name, options=("--config", work / name))
    work.fails(2, "--config", options=("--config", ""))


def test_the_command_line_wins(work):
    (work / "my.toml").write_text(
        "mode = 'whole'\nscience_variance = 5\ntemplate-variance = 3\nscore = false\n"
        "fill-planes = ['BAD']\nforce = true\nkernel-position = [3, 4]"
    )
    config = ("--config", work / "my.toml", "--template-variance", "7", "--no-force")
    header = work.succeeds(*config)[0]["PRIMARY"][0]
    shown = {name: header[name] for name in ("DDMODE", "DDSCIVAR", "DDTMPVAR", "DDFORCE")}
    assert shown == {"DDMODE": "whole", "DDSCIVAR": 5, "DDTMPVAR": 7, "DDFORCE": False}
    assert header["DDFILLPL"] == "BAD"
    assert header["DDKERPOS"] == "3.0,4.0"


EVERY = {
    "--mode": "whole",
    "--ignore-planes": "BAD,SAT",
    "--fill-planes": "",
    "--kernel-position": "1.5,2",
    "--science-variance": "1.2345678901234567e-33",
    "--template-scale": "-0.1",
    "--cell-size": "7,9.5",
    "--cell-centroids": 'odd "näme"\\.txt',
    "--science-noise": "a b[SCI,2].fits",
    "--kernel-center": "3,4",
    "--dtype": "float64",
}


def test_what_is_printed_is_a_configuration_that_prints_itself(work):
    given = [part for pair in EVERY.items() for part in pair] + ["--score", "--no-scale-by-fwhm"]
    first = work.run("--print-config", *given)
    assert (first.exit_code, first.stderr) == (0, "")
    (work / "my.toml").write_text(first.stdout, encoding="utf-8")
    second = work.run("--print-config", "--config", work / "my.toml")
    assert second.stdout == first.stdout
    values = tomllib.loads(first.stdout)
    assert values["cell-centroids"] == EVERY["--cell-centroids"]
    assert values["science-variance"] == float(EVERY["--science-variance"])
    names = re.findall(r"^#?([a-z-]+) =", first.stdout, re.MULTILINE)
    assert names[:5] == ["science", "template", "difference", "kernel", "output"]
    assert {f"--{name}" for name in names[5:]} == {i.flag_name for i in DECLARED} <= real_options()
    assert values["output"] == str(work.output)
    assert not work.output.exists()


def test_the_configuration_is_printed_without_files():
    result = call("run", "--print-config")
    assert result.exit_code == 0
    assert tomllib.loads(result.stdout)["mode"] == "grid"


def test_every_option_is_printed_with_what_it_does():
    lines = call("run", "--print-config").stdout.splitlines()
    for item in DECLARED:
        place = next(
            n
            for n, line in enumerate(lines)
            if line.lstrip("#").startswith(f"{item.name.replace('_', '-')} =")
        )
        assert lines[place].startswith("#") == (item.default is None)
        start = max(n for n in range(place) if not lines[n])
        text = " ".join(line.removeprefix("# ") for line in lines[start + 1 : place]).split()
        assert text == help_text(item).split()


def test_a_printed_configuration_repeats_the_run_by_itself(work):
    """The names of the files are in it, relative to the folder that the command is called in."""
    given = ("--mode", "whole", "--threads", "1", "--no-verify")
    (work / "my.toml").write_text(work.run(*given, "--print-config").stdout)
    first = json_object(work.run(*given, "--json").stdout)
    before = opened(work.output)
    again = json_object(call("run", "--config", work / "my.toml", "--json").stdout)
    assert again["status"] == "already done"
    assert again["options"] == first["options"]
    work.output.unlink()
    result = call("run", "--config", work / "my.toml")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    after = opened(work.output)
    assert list(after) == list(before)
    assert all(
        np.array_equal(after[name][1], before[name][1], equal_nan=True)
        for name in after
        if after[name][1] is not None and after[name][1].dtype.kind in "fi"
    )
    assert call("verify", "--config", work / "my.toml").exit_code == 0


def test_a_difference_alone_is_repeated(work):
    printed = call("run", work / "difference.fits", "-o", work.output, "--print-config").stdout
    assert "\n#science =\n" in printed
    assert "\n#template =\n" in printed
    (work / "my.toml").write_text(printed)
    assert call("run", "--config", work / "my.toml").exit_code in {0, 3}  # it has few pixels


def test_files_of_the_command_line_go_before_those_of_the_configuration(work):
    (work / "my.toml").write_text(
        "science = 'a.fits'\ntemplate = 'b.fits'\ndifference = 'c.fits'\noutput = 'd.fits'"
    )
    config = ("run", "--print-config", "--config", work / "my.toml")

    def files(*given):
        values = tomllib.loads(call(*config, *given).stdout)
        return "".join(values.get(role, "-.")[0] for role in ROLES)

    assert files() == "abc-d"
    assert files("x.fits") == "abx-d"
    assert files("x.fits", "y.fits", "z.fits", "-o", "o.fits", "--kernel", "k.fits") == "xyzko"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("science = 3", "science is 3: expected a file name"),
        ("output = ''", "output is ''"),
        ("output = '-'", "standard output is not written to"),
        ("kernel = ['a']", "kernel is ['a']"),
        ("template = true", "template is True"),
    ],
)
def test_a_configuration_with_files_that_cannot_be(work, content, says):
    (work / "my.toml").write_text(content)
    work.fails(2, "my.toml", says, options=("--config", work / "my.toml"))


def test_a_configuration_without_all_files(work):
    (work / "my.toml").write_text("science = 'a.fits'\ndifference = 'c.fits'\noutput = 'd.fits'")
    check_failure(call("run", "--config", work / "my.toml"), 2, "TEMPLATE", "got 2 of them")
    (work / "my.toml").write_text("difference = 'c.fits'")
    check_failure(call("run", "--config", work / "my.toml"), 2, "--output")
    check_failure(call("verify", "--config", work / "my.toml"), 2, "SCIENCE, TEMPLATE")


def test_a_name_that_no_toml_file_can_hold():
    check_failure(
        call("run", b"x\xff.fits".decode(errors="surrogateescape"), "--print-config"), 2, "UTF-8"
    )
    strange = 'tab\t"quote" \\ \x7f\x01ü.fits'
    printed = call("run", strange, "--print-config").stdout
    assert tomllib.loads(printed)["difference"] == strange


def test_a_wrong_configuration_is_not_printed(work):
    work.fails(2, "--science-gain", options=("--print-config", "--science-gain", "0"))


def test_a_printed_configuration_does_the_same(work):
    given = ("--mode", "whole", "--variance", "full", "--fill-planes", "BAD", "--dtype", "float64")
    printed = work.run(*given, "--print-config").stdout
    (work / "my.toml").write_text(printed)
    first, _ = work.succeeds(*given)
    result = work.run("--config", work / "my.toml", "--json")
    assert '"already done"' in result.stdout
    second, _ = work.succeeds("--config", work / "my.toml", "--overwrite")
    for name in ("IMAGE", "VARIANCE", "MASK"):
        assert np.array_equal(first[name][1], second[name][1])


def test_every_option_is_recorded(work):
    header = work.succeeds()[0]["PRIMARY"][0]
    for item in DECLARED:
        if item.default is not None and item.keyword:
            assert item.keyword in header, item.name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_types_of_the_output(work, dtype):
    options = ("--dtype", dtype, "--science-psf", work / "psf.fits")
    output, _ = work.succeeds(*options, "--blend", "none", "--cell-size", "10", "--grid-step", "9")
    for name in ("IMAGE", "VARIANCE", ("CELL_IMAGE", 1), ("CELL_VARIANCE", 1)):
        assert output[name][1].dtype == np.dtype(dtype).newbyteorder(">"), name
    assert {output[name][1].dtype.str for name in ("PSF", "PSI")} == {">f4"}
    assert fits.getheader(work.output, "IMAGE")["BITPIX"] == {"float32": -32, "float64": -64}[dtype]
    assert opened(work.output)["MASK"][1].dtype.itemsize == 4
