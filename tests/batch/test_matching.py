"""Files that belong together: by what stars stand for, against every way to fill them in."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.batch.matching import files_of, match, output_names, plain_name
from diffdecor.errors import ConfigError, InputError

PARTS = st.text("ab_1.", min_size=1, max_size=4).filter(lambda text: not text.startswith("."))


def touch(folder, *names):
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()


def pairs(matched, folder):
    return [
        tuple(str(Path(file).relative_to(folder)) for file in one.files.values())
        for one in matched.matches
    ]


def test_stars_stand_for_the_same(tmp_path):
    touch(tmp_path, "s_1.fits", "s_2.fits", "s_4.fits", "t_1.fits", "t_2.fits", "t_3.fits")
    touch(tmp_path, "d_1.fits", "d_2.fits", "d_3.fits", ".d_9.fits", "d_5.fits.tmp")
    (tmp_path / "d_8.fits").mkdir()
    patterns = {"science": "s_*.fits", "template": "t_*.fits", "difference": "d_*.fits"}
    matched = match({role: f"{tmp_path}/{name}" for role, name in patterns.items()})
    assert pairs(matched, tmp_path) == [
        ("d_1.fits", "s_1.fits", "t_1.fits"),
        ("d_2.fits", "s_2.fits", "t_2.fits"),
    ]
    lonely = [(one.role, Path(one.file).name, list(one.missing)) for one in matched.lonely]
    assert lonely == [
        ("difference", "d_3.fits", ["science"]),
        ("science", "s_4.fits", ["difference"]),
    ]


@given(keys=st.sets(st.tuples(PARTS, PARTS), min_size=1, max_size=6), data=st.data())
def test_every_file_is_in_a_row_or_is_lonely(tmp_path_factory, keys, data):
    """Stars of folders and names; all files are accounted for, and rows are what they seem."""
    folder = tmp_path_factory.mktemp("night")
    sets = {
        role: data.draw(st.sets(st.sampled_from(sorted(keys)))) for role in ("science", "kernel")
    }
    for role, some in {"difference": keys, **sets}.items():
        touch(folder, *(f"{one}/{role}-{other}.fits" for one, other in some))
    patterns = {role: f"{folder}/*/{role}-*.fits" for role in ("difference", *sets)}
    matched = match(patterns)
    complete = keys & sets["science"] & sets["kernel"]
    assert {one.key for one in matched.matches} == complete
    for one in matched.matches:
        for role, file in one.files.items():
            assert file == f"{folder}/{one.key[0]}/{role}-{one.key[1]}.fits"
    in_rows = {file for one in matched.matches for file in one.files.values()}
    lonely = {one.file for one in matched.lonely}
    partners = {
        f"{folder}/{one}/{role}-{other}.fits"
        for role, some in sets.items()
        for one, other in some - complete
    }
    everything = {str(path) for path in folder.rglob("*.fits")}
    assert in_rows | lonely | partners == everything
    assert not in_rows & lonely
    names = output_names(matched.matches)
    assert len({name.lower() for name in names}) == len(names)


@given(st.lists(PARTS, min_size=1, max_size=3), st.text("ab_*", min_size=1, max_size=6))
def test_what_a_star_stands_for_gives_the_name_again(tmp_path_factory, names, pattern):
    pattern = re.sub(r"\*+", "*", pattern)
    folder = tmp_path_factory.mktemp("files")
    for text in names:
        touch(folder, pattern.replace("*", text) + "a")
    if "*" not in pattern:
        return
    stars = pattern.count("*")
    found = files_of(f"{folder}/{pattern}")
    for key, file in found.items():
        assert len(key) == stars
        filled = pattern
        for part in key:
            filled = filled.replace("*", f"\0{part}", 1)
        assert Path(file).name == filled.replace("\0", "")
    whole = re.compile(".*".join(map(re.escape, pattern.split("*"))))
    there = {str(path) for path in folder.iterdir() if whole.fullmatch(path.name)}
    assert set(found.values()) == there


def test_one_file_for_all(tmp_path):
    touch(tmp_path, "t.fits", "d_1.fits", "d_2.fits")
    matched = match(
        {"template": f"{tmp_path}/t.fits[2]", "difference": f"{tmp_path}/d_*.fits[SCI]"}
    )
    assert pairs(matched, tmp_path) == [
        ("d_1.fits[SCI]", "t.fits[2]"),
        ("d_2.fits[SCI]", "t.fits[2]"),
    ]


def test_fewer_stars(tmp_path):
    touch(tmp_path, "d_a_x.fits", "d_a_y.fits", "d_b_x.fits", "t_a.fits", "t_b.fits")
    matched = match({"template": f"{tmp_path}/t_*.fits", "difference": f"{tmp_path}/d_*_*.fits"})
    assert [files[1] for files in pairs(matched, tmp_path)] == ["t_a.fits", "t_a.fits", "t_b.fits"]
    touch(tmp_path, "t_x.fits")
    with pytest.raises(ConfigError, match="not clear which stars"):
        match({"template": f"{tmp_path}/t_*.fits", "difference": f"{tmp_path}/d_*_*.fits"})


def test_patterns_that_cannot_be(tmp_path):
    touch(tmp_path, "t_a_b.fits", "d_a.fits")
    with pytest.raises(ConfigError, match="fewer stars"):
        match({"template": f"{tmp_path}/t_*_*.fits", "difference": f"{tmp_path}/d_*.fits"})
    with pytest.raises(ConfigError, match="means nothing"):
        match({"difference": f"{tmp_path}/**/d.fits"})
    with pytest.raises(ConfigError, match="not of an HDU"):
        match({"difference": f"{tmp_path}/d_*.fits[*]"})
    with pytest.raises(InputError, match="no such file"):
        match({"difference": f"{tmp_path}/d.fits"})
    assert not match({"difference": f"{tmp_path}/none/d_*.fits"}).matches


def test_brackets_and_question_marks_are_themselves(tmp_path):
    touch(tmp_path, "d[1]_a?.fits", "d1_ab.fits")
    assert list(files_of(f"{tmp_path}/d[1]_*?.fits")) == [("a",)]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a/d.fits", "d"),
        ("d.fits.fz[N1]", "d"),
        ("d.FIT.gz", "d"),
        ("d.x.fts", "d.x"),
        ("d", "d"),
        (".fits", ".fits"),
    ],
)
def test_plain_names(file, name):
    assert plain_name(file) == name


def test_outputs_of_one_name_are_told_apart(tmp_path):
    touch(tmp_path, "a/d.fits", "b/d.fits", "c/D.fits", "c/e.fits")
    matched = match({"difference": f"{tmp_path}/*/*.fits"})
    assert output_names(matched.matches) == ["d_a_d", "d_b_d", "D_c_D", "e"]
