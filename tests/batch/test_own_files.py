"""What a batch writes itself is nothing of anybody else: not of its rows, nor of the user."""

import pytest
from helpers.workplace import call

from diffdecor.batch.batch import BatchOptions, make_plan
from diffdecor.batch.ledger import Ledger
from diffdecor.batch.manifest import ManifestError
from diffdecor.batch.model import Record, Status
from diffdecor.errors import OutputExistsError
from diffdecor.pipeline.results_table import BATCH_COLUMNS, COLUMNS, results_text

RESULTS = ["results.ecsv", "results.jsonl"]


@pytest.fixture
def manifest(tmp_path):
    """Write a manifest of one row: ``manifest(name, **cells)``."""

    def write(name="night.csv", **cells):
        cells = {"difference": "d.fits", "output": "o.fits"} | cells
        rows = (cells.keys(), cells.values())
        file = tmp_path / name
        file.write_text("".join(",".join(row) + "\n" for row in rows))
        return file

    return write


@pytest.fixture
def refused(tmp_path):
    """Return why there is no plan, and see that no file was touched."""

    def problem(file, error=ManifestError, **options):
        before = {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}
        with pytest.raises(error) as raised:
            make_plan(BatchOptions(manifest=str(file), **options))
        assert raised.value.exit_code == 2
        assert before == {one: one.read_bytes() for one in tmp_path.rglob("*") if one.is_file()}
        return str(raised.value)

    return problem


@pytest.mark.parametrize("name", RESULTS)
def test_the_manifest_is_none_of_the_results(name, manifest, refused):
    assert f"the batch: {name}" in (text := refused(manifest(name)))
    assert "is an input, the manifest" in text


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize(
    "column", ["output", "difference", "difference_noise", "cell_centroids", "joined"]
)
def test_no_row_reads_or_writes_the_results(name, column, manifest, refused):
    cells = {column: f"sub/../{name}"} | ({"detector": "N1"} if column == "joined" else {})
    if column == "joined":
        cells["output"] = "p.fits"
    assert name in refused(manifest(**cells))


@pytest.mark.parametrize("name", RESULTS)
def test_no_link_leads_to_the_results(name, manifest, refused, tmp_path):
    (tmp_path / name).write_bytes(b"")
    (tmp_path / "o.fits").symlink_to(name)
    assert f"is {name} of the batch, too" in refused(manifest())


@pytest.mark.parametrize("name", RESULTS)
def test_files_of_the_user_are_not_replaced(name, manifest, refused, tmp_path):
    (tmp_path / name).write_text('{"my": "own"}\n')
    assert "is not what a batch writes there" in refused(manifest(), OutputExistsError)


def test_a_table_of_a_report_is_none_of_a_batch(manifest, refused, tmp_path):
    (tmp_path / "results.ecsv").write_text(results_text([], COLUMNS))
    assert "is not what a batch writes there" in refused(manifest(), OutputExistsError)


@pytest.mark.parametrize(
    "text", [b"", b"\n", b'{"vers', b'{"version":99,"what":1}\n', b"\0" * 100, b'\n{"version":1,']
)
def test_what_a_crash_leaves_of_the_ledger_is_no_obstacle(text, manifest, tmp_path):
    (tmp_path / "results.jsonl").write_bytes(text)
    (tmp_path / "results.ecsv").write_text(results_text([], BATCH_COLUMNS))
    assert len(make_plan(BatchOptions(manifest=str(manifest()))).waiting) == 1


def test_a_ledger_with_a_damaged_beginning_is_still_one(manifest, tmp_path):
    (tmp_path / "results.jsonl").write_bytes(b"xx\n")
    Ledger(tmp_path).append(Record(output="/o", status=Status.DONE, exit_code=0))
    assert make_plan(BatchOptions(manifest=str(manifest()))).waiting


def test_parts_for_the_only_row_are_no_other_file(manifest, refused, tmp_path):
    text = f"sigma={tmp_path}/o.fits"
    assert "o.fits is output of line 2, too" in refused(manifest(), shared={"write": (text,)})


@pytest.mark.parametrize("option", ["--log-file", "--log-json"])
@pytest.mark.parametrize("cells", [{"science_psf": "log"}, {"output": "log"}])
def test_no_log_is_written_into_files_of_rows(option, cells, manifest, tmp_path):
    log = tmp_path / "log"
    log.write_text("")
    cells = {"science": "s.fits", "template": "t.fits"} | cells
    result = call("batch", manifest(**cells), option, log)
    assert result.exit_code == 2
    assert option in result.stderr
    assert log.read_text() == ""


@pytest.mark.parametrize("name", RESULTS)
def test_no_log_is_written_into_the_results(name, manifest, tmp_path):
    result = call("batch", manifest(), "--log-file", tmp_path / name)
    assert result.exit_code == 2
    assert f"--log-file {tmp_path / name} is {name} of the batch, too" in result.stderr
    assert not (tmp_path / name).exists()


def test_what_is_wrong_with_a_manifest_is_in_the_log(manifest, tmp_path):
    log = tmp_path / "log"
    assert call("batch", manifest(science="s.fits"), "--log-file", log).exit_code == 2
    assert "science and no template" in log.read_text()
