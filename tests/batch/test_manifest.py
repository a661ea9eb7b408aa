"""Manifests: what a row means, and that everything wrong is said at once, with its line."""

import csv
import gzip
import io
import re
from contextlib import suppress

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.batch.manifest import ManifestError, read_manifest
from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.words import of_commands

HEAD = "science,template,difference,kernel,output"


def write(folder, text, name="night.csv"):
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(file)


def tasks_of(folder, text, name="night.csv", **shared):
    return read_manifest(write(folder, text, name), shared).tasks


def problems_of(folder, text, name="night.csv", **shared):
    with of_commands(), pytest.raises(ManifestError) as caught:
        read_manifest(write(folder, text, name), shared)
    assert caught.value.exit_code == 2
    assert caught.value.problems
    assert all("\n" not in problem for problem in caught.value.problems)
    return caught.value.problems


def lines_of(problems):
    return [int(re.match(r"line (\d+): ", problem)[1]) for problem in problems]


def test_a_row_is_a_job(tmp_path):
    text = f"{HEAD}\ns.fits[1],sub/t.fits,../d.fits,k.fits,out/o.fits\n,,alone.fits,,/abs/o2.fits\n"
    first, second = tasks_of(tmp_path, text)
    assert (first.number, first.place) == (1, "line 2")
    assert first.job.science == f"{tmp_path}/s.fits[1]"
    assert first.job.template == f"{tmp_path}/sub/t.fits"
    assert first.job.difference == f"{tmp_path}/../d.fits"
    assert first.job.kernel == f"{tmp_path}/k.fits"
    assert first.job.output == f"{tmp_path}/out/o.fits"
    assert first.output == "out/o.fits"
    assert second.job.is_alone
    assert second.job.output == "/abs/o2.fits"
    assert second.place == "line 3"


def test_a_kernel_may_be_found_from_the_images(tmp_path):
    """A file called fit is named ./fit, as on the command line."""
    text = f"{HEAD}\ns.fits,t.fits,a.fits,fit,1.fits\ns.fits,t.fits,b.fits,./fit,2.fits\n"
    word, file = tasks_of(tmp_path, text)
    assert (word.job.kernel, word.job.kernel_file) == ("fit", None)
    assert file.job.kernel == file.job.kernel_file == f"{tmp_path}/fit"
    # As an input it is not in the way of an output of its name.
    tasks_of(tmp_path, f"{HEAD}\ns.fits,t.fits,a.fits,fit,fit\n")
    (problem,) = problems_of(tmp_path, f"{HEAD}\ns.fits,t.fits,a.fits,./fit,fit\n")
    assert "is an input" in problem


def test_options_of_rows_of_all_rows_and_defaults(tmp_path):
    text = (
        "difference,output,noise-model,max_rho,filters,write,science_psf\n"
        "a.fits,a_out.fits,measured,0.1,no,image=x.fits; mask=sub/y.fits,\n"
        "b.fits,b_out.fits,,,,,\n"
    )
    first, second = tasks_of(tmp_path, text, max_rho=0.5, threads=3)
    assert first.job.decorrelation == DecorrelationConfig(noise_model="measured", threads=3)
    assert first.job.files == FilesConfig(
        max_rho=0.1,
        filters=False,
        write=(f"image={tmp_path}/x.fits", f"mask={tmp_path}/sub/y.fits"),
    )
    assert second.job.decorrelation == DecorrelationConfig(threads=3)
    assert second.job.files == FilesConfig(max_rho=0.5)


def test_one_thread_unless_another_number_is_given(tmp_path):
    text = "difference,output,threads\na.fits,1.fits,\nb.fits,2.fits,4\n"
    assert [task.job.decorrelation.threads for task in tasks_of(tmp_path, text)] == [1, 4]


def test_files_of_all_rows_are_relative_to_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    text = "science,difference,output\ns.fits,d.fits,o.fits\n"
    (task,) = tasks_of(tmp_path, text, template="t.fits", science_mask="m.fits", kernel="k.fits")
    assert task.job.template == f"{tmp_path}/here/t.fits"
    assert task.job.kernel == f"{tmp_path}/here/k.fits"
    assert task.job.files.science.mask == f"{tmp_path}/here/m.fits"
    assert task.job.science == f"{tmp_path}/s.fits"


def test_rows_with_equal_options_share_their_configs(tmp_path):
    rows = "".join(f"{n}.fits,o{n}.fits,1.5\n" for n in range(20))
    tasks = tasks_of(tmp_path, f"difference,output,max_rho\n{rows}")
    assert len({id(task.job.decorrelation) for task in tasks}) == 1
    assert len({id(task.job.files) for task in tasks}) == 1


@pytest.mark.parametrize("word", ["true", "True", "yes", "1"])
def test_switches(tmp_path, word):
    (task,) = tasks_of(tmp_path, f"difference,output,strict\nd.fits,o.fits,{word}\n")
    assert task.job.files.strict is True


def test_columns_for_people_count_nothing(tmp_path):
    text = "difference,output,Comment,note,#seeing\nd.fits,o.fits,best,of all,1.3\n"
    assert len(tasks_of(tmp_path, text)) == 1


def test_detectors(tmp_path):
    text = "difference,output,joined,detector\nd.fits[N1],o_N1.fits,o.fits,N1\n"
    (task,) = tasks_of(tmp_path, text)
    assert (task.joined, task.detector) == (f"{tmp_path}/o.fits", "N1")


NAMES = {"science": "001", "template": "tmpl.fits", "difference": "1e5", "output": "007.fits"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("m.csv", "ascii.csv"),
        ("m.ecsv", "ascii.ecsv"),
        ("m.txt", "ascii.basic"),
        ("m.tsv", "ascii.tab"),
        ("m.txt", "ascii.fixed_width"),
        ("m.tbl", "ascii.ipac"),
        ("m.rst", "ascii.rst"),
        ("m.fits", "fits"),
        ("m.vot", "votable"),
        ("m.tex", "ascii.latex"),
        ("m.txt", "ascii.mrt"),
        ("m.ecsv.gz", "ascii.ecsv"),
    ],
)
def test_formats_of_tables(tmp_path, name, kind):
    """Names like numbers stay what they are; what is masked is empty."""
    rows = [NAMES, NAMES | {"difference": "true", "output": "8.fits"}]
    table = Table(rows=rows)
    table["max_rho"] = MaskedColumn([0.5, 0.25], mask=[False, True])
    file = tmp_path / name.removesuffix(".gz")
    table.write(file, format=kind)
    if name.endswith(".gz"):
        packed = tmp_path / name
        packed.write_bytes(gzip.compress(file.read_bytes()))
        file = packed
    first, second = read_manifest(str(file), {}).tasks
    assert first.job.science == str(tmp_path / "001")
    assert first.job.difference == str(tmp_path / "1e5")
    assert second.job.difference == str(tmp_path / "true")
    assert first.job.files.max_rho == 0.5
    assert second.job.files.max_rho is None
    text = name.split(".")[1] in {"csv", "ecsv", "tsv"} or kind == "ascii.basic"
    assert first.place.startswith("line " if text else "row ")


def test_typed_columns(tmp_path):
    table = Table({"difference": ["a.fits", "b.fits"], "output": ["1.fits", "2.fits"]})
    table["threads"] = [2, 3]
    table["strict"] = [True, False]
    table["max_rho"] = np.array([0.1, np.nan], np.float32)
    table.write(tmp_path / "m.fits")
    first, second = read_manifest(str(tmp_path / "m.fits"), {}).tasks
    assert first.job.decorrelation.threads == 2
    assert (first.job.files.strict, second.job.files.strict) == (True, False)
    assert first.job.files.max_rho == pytest.approx(0.1)
    assert second.job.files.max_rho is None
    assert read_manifest(f"{tmp_path}/m.fits[1]", {}).tasks


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_texts_of_other_programs(tmp_path, separator, ending):
    lines = ["# a remark", "difference,output,max_rho", "", "d.fits,o.fits,0.5", "e.fits,p.fits,x"]
    text = ending.join(lines).replace(",", separator) + ending
    (problem,) = problems_of(tmp_path, "\ufeff" + text)
    assert problem == "line 5: --max-rho is 'x': expected a number"


def test_everything_wrong_is_said_at_once_with_its_line(tmp_path):
    text = (
        "# manifest of a night\n"
        "\n"
        "science,template,difference,output,gain,note\n"
        "s.fits,t.fits,d.fits,1.fits,-1,\n"
        "# s.fits,t.fits,d.fits,1.fits,-1,\n"
        's.fits,t.fits,d.fits,2.fits,1,"of\nthree\nlines"\n'
        "s.fits,,d.fits,3.fits,1,\n"
        "\n"
        "s.fits,t.fits,,4.fits,1,\n"
        "s.fits,t.fits,d.fits,,1,\n"
        "s.fits,t.fits,d.fits,2.fits,1,\n"
        "s.fits,t.fits,d.fits\n"
        "s.fits,t.fits,d.fits,5.fits.bz2,1,\n"
        "s.fits,t.fits,d.fits,6.fits[1],1,\n"
        ",,d.fits,7.fits,1,\n"
        "s.fits,t.fits,d.fits,8.csv,1,\n"
        "s.fits,t.fits,d.fits,new/,1,\n"
        "s.fits,t.fits,d.fits,-,1,\n"
    )
    problems = problems_of(tmp_path, text)
    assert lines_of(problems) == [4, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]
    for problem, what in zip(
        problems,
        [
            "--gain is '-1': expected a number above zero",
            "there is science and no template",
            "there is no difference",
            "there is no output",
            "2.fits is output of line 6, too",
            "it has 3 cells, and the heading 6",
            "5.fits.bz2: outputs are not packed so",
            "leave out the brackets",
            "--gain cannot be used: the difference",
            "is a FITS file; name it .fits",
            "is the name of a folder",
            "output is '-': expected the name of a file",
        ],
        strict=True,
    ):
        assert what in problem


def test_one_file_by_two_names(tmp_path):
    (tmp_path / "night").mkdir()
    (tmp_path / "link").symlink_to("night")
    (tmp_path / "night" / "there.fits").touch()
    (tmp_path / "night" / "there2.fits").symlink_to("there.fits")
    (tmp_path / "night" / "broken.fits").symlink_to("new.fits")
    names = ["night/new.fits", "night/there.fits"]
    others = ["link/../night/new.fits", "link/there.fits", "night/there2.fits", "link/broken.fits"]
    others += [f"{tmp_path}/night//new.fits", "./night/new.fits"]
    rows = "".join(f"d.fits,{name}\n" for name in names + others)
    problems = problems_of(tmp_path, f"difference,output\n{rows}")
    assert lines_of(problems) == [4, 5, 6, 7, 8, 9]
    assert [problem.rpartition("line ")[2] for problem in problems] == [
        *("2, too", "3, too", "3, too", "2, too", "2, too", "2, too")
    ]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("b.fits,o2.fits,image=o1.fits", "--write image"),
        ("b.fits,b.fits,", "output"),
        ("b.fits,a.fits,", "output"),
        ("b.fits,o2.fits,mask=link.fits", "--write mask"),
        ("b.fits,night.csv,", "output"),
        ("b.fits,o2.fits,image=x.fits;mask=x.fits", "--write mask"),
        ("o1.fits[1],o2.fits,", "output"),
    ],
)
def test_what_is_read_or_written_elsewhere_is_not_written(tmp_path, row, what):
    (tmp_path / "link.fits").symlink_to("a.fits")
    problems = problems_of(tmp_path, f"difference,output,write\na.fits,o1.fits,\n{row}\n")
    line = 2 if row.startswith("o1") else 3
    assert any(p.startswith(f"line {line}: {what} ") for p in problems) or "night.csv" in row


def test_rows_that_are_wrong_otherwise_are_in_the_way_too(tmp_path):
    text = "difference,output,gain\nd.fits,o.fits,x\nd.fits,o.fits,\n"
    assert lines_of(problems_of(tmp_path, text)) == [2, 3]


def test_files_of_all_rows_are_not_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "difference,output\na.fits,m.fits\nb.fits,opts.toml.fits\n"
    file = write(tmp_path, text)
    with pytest.raises(ManifestError) as caught:
        read_manifest(file, {"difference_mask": "m.fits"}, configuration="opts.toml.fits")
    assert lines_of(caught.value.problems) == [2, 3]


def test_a_link_in_a_circle_is_a_name_like_others(tmp_path):
    (tmp_path / "o.fits").symlink_to("o.fits")
    (tmp_path / "p.fits").symlink_to("q.fits")
    (tmp_path / "q.fits").symlink_to("p.fits")
    text = "difference,output\nd.fits,o.fits\nd.fits,p.fits\nd.fits,q.fits\n"
    assert len(tasks_of(tmp_path, text)) == 3


def test_columns_that_there_are_not(tmp_path):
    problems = problems_of(tmp_path, "difference,outptu,sience_mask,zzz,gain,gain\nd,o,,,,\n")
    assert len(problems) == 5
    assert all(problem.startswith("line 1: ") for problem in problems)
    assert "there is no option outptu of diffdecor run; did you mean output?" in problems[0]
    assert "did you mean science_mask" in problems[1]
    assert "zzz of diffdecor run; begin its name with #" in problems[2]
    assert "gain is there twice" in problems[3]
    assert "no column output" in problems[4]


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is empty"),
        (b"\n \n", "it is empty"),
        (b"difference,output\n", "there are no rows"),
        (b"difference,output\n,\n", "there are no rows"),
        (b"difference,output\na\xff.fits,o.fits\n", "line 2: not text in UTF-8"),
        ("difference,output\na,b\n".encode("utf-16"), "UTF-16"),
        (b'difference,output\n"a.fits,o.fits\nb.fits,p.fits\n', "line 2: unexpected end of data"),
        (b"\na.fits b.fits\n", "there is no heading"),
        (b"\na.fits b.fits\n", "but 'a.fits b.fits'"),
        (b"PK\x03\x04" + bytes(9), "a spreadsheet or an archive; save the table as CSV"),
        (b",difference,output\n0,d.fits,o.fits\n", "column 1 has no name"),
        (b"the difference, none\nhere : is | any\ttable,\n", "there is no heading"),
        (b"\x1f\x8bnothing", "cannot be read"),
        (b"\x00\x01\x02difference", "neither text nor"),
        (b"difference,output\nd.fits,o\0.fits\n", "neither text nor"),
        (b"SIMPLE  = damaged", "not a readable FITS file"),
        (b"\x89HDF\r\n\x1a\n\0\0", "cannot be read"),
        (b"<VOTABLE>", "cannot be read"),
    ],
)
def test_what_is_no_manifest(tmp_path, content, what):
    (problem,) = problems_of(tmp_path, content)
    assert what in problem


def test_numbers_of_spreadsheets_and_pandas(tmp_path):
    """A decimal comma is named; "nan" is no number, but there is a file of that name."""
    (problem,) = problems_of(tmp_path, "difference;output;max_rho\r\nd.fits;o.fits;0,05\r\n")
    assert (
        problem
        == "line 2: --max-rho is '0,05': expected a number, with a point in place of the comma"
    )
    text = "difference,output,max_rho,gain,strict\nnan,NaN,nan,NaN,NAN\n"
    (task,) = tasks_of(tmp_path, text, max_rho=0.5)
    assert (task.output, task.job.files.max_rho, task.job.files.strict) == ("NaN", 0.5, False)
    assert task.job.difference == str(tmp_path / "nan")


def test_an_image_in_two_roles(tmp_path):
    """Two HDUs of one file are two images."""
    text = "science,template,difference,output\na.fits,./b.fits,{},o.fits\n"
    for name in ("a.fits", "b.fits"):
        (problem,) = problems_of(tmp_path, text.format(name))
        assert problem.startswith("line 2: ")
        assert f"and difference are one file, {tmp_path / name}" in problem
    assert tasks_of(tmp_path, text.format("a.fits[2]"))


def test_files_that_cannot_be_read(tmp_path):
    for name, reason in ((tmp_path, "Is a directory"), (tmp_path / "no.csv", "No such file")):
        with pytest.raises(ManifestError, match=reason):
            read_manifest(str(name), {})


def test_parts_of_all_rows_would_be_one_file(tmp_path):
    text = "difference,output\na.fits,1.fits\nb.fits,2.fits\n"
    (problem,) = problems_of(tmp_path, text, write=("image=x.fits",))
    assert "/x.fits would be one file for all rows" in problem
    assert len(tasks_of(tmp_path, text.rpartition("b.fits")[0], write=("image=x.fits",))) == 1


@pytest.mark.parametrize("detector", ["", "12", "a/b", "N1[", "x" * 60])
def test_detectors_that_cannot_be(tmp_path, detector):
    text = f"difference,output,joined,detector\nd.fits,o.fits,j.fits,{detector}\n"
    assert lines_of(problems_of(tmp_path, text)) == [2]


def test_detectors_and_joined_files_in_the_way(tmp_path):
    text = (
        "difference,output,joined,detector\n"
        "d.fits[1],1.fits,j.fits,A\nd.fits[2],2.fits,j.fits,a\nd.fits[3],3.fits,1.fits,C\n"
        "e.fits,4.fits,d.fits,D\n"
    )
    assert lines_of(problems_of(tmp_path, text)) == [2, 3, 5]


def quoted(cells):
    file = io.StringIO()
    csv.writer(file, lineterminator="", quoting=csv.QUOTE_ALL).writerow(cells)
    return file.getvalue()


#: What a line of a manifest may be: a remark, nothing, a good row, a bad one; of several lines.
LINES = st.lists(
    st.tuples(
        st.sampled_from(["good", "bad", "remark", "blank", "short", "spread"]), st.integers(0, 3)
    ),
    min_size=1,
    max_size=25,
)


@given(LINES)
def test_every_problem_has_its_line(tmp_path_factory, content):
    """Whatever remarks, blank lines and cells of several lines are between the rows."""
    folder = tmp_path_factory.getbasetemp()
    lines, wrong = ["difference,output,note,gain"], []
    for number, (kind, breaks) in enumerate(content):
        line = 1 + sum(text.count("\n") + 1 for text in lines)
        if kind in {"bad", "short"}:
            wrong.append(line)
        lines.append(
            {
                "good": quoted([f"d{number}", f"o{number}", "a" + "\n" * breaks + "b", ""]),
                "bad": quoted([f"d{number}", f"o{number}", "\n" * breaks, "x"]),
                "remark": '# "not open',
                "blank": " " * breaks,
                "short": f"d{number}",
                "spread": quoted([f"d{number}", f"o{number}", "#\n# no remark\n\n", ""]),
            }[kind]
        )
    text = "\n".join(lines) + "\n"
    if wrong:
        assert lines_of(problems_of(folder, text)) == wrong
    elif any(kind in {"good", "spread"} for kind, _ in content):
        good = sum(kind in {"good", "spread"} for kind, _ in content)
        assert len(tasks_of(folder, text)) == good


@given(st.data())
def test_damage_is_said_and_nothing_else_gets_out(tmp_path_factory, data):
    """Whatever bytes are lost, changed or new: tasks, or a ManifestError."""
    folder = tmp_path_factory.getbasetemp()
    whole = b'# %ECSV 1.0\n# ---\ndifference output gain\n"a b" c.fits ""\nd.fits "e\nf" 1\n'
    whole = data.draw(st.sampled_from([whole, whole.replace(b" ", b",").replace(b"#,", b"#")]))
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, min(start + 9, len(whole))))
    new = data.draw(st.one_of(st.binary(max_size=9), st.sampled_from([b'"', b"\n", b"#", b"\0"])))
    file = write(folder, whole[:start] + new + whole[stop:], "damaged.csv")
    with suppress(ManifestError):
        assert read_manifest(file, {}).tasks


def test_names_of_any_case_and_dashes(tmp_path):
    (task,) = tasks_of(tmp_path, "Difference,OUTPUT,Max-Rho\nd.fits,o.fits,1\n")
    assert task.job.files.max_rho == 1.0
    assert task.job.output == f"{tmp_path}/o.fits"
