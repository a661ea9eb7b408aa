"""`diffdecor help`: every topic is readable and complete, and its commands can be called."""

import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import click
import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import (
    OPTION,
    all_commands,
    call,
    check_failure,
    gaussian,
    json_object,
    parameters,
    real_options,
    subcommands,
)

import diffdecor
from diffdecor.batch.model import Record, Status
from diffdecor.cli import EXIT_CODES, main
from diffdecor.cli.topics import TOPICS, topic_named
from diffdecor.cli.topics.blocks import Code, Heading, Items, Paragraph, Table, Topic, parsed, table
from diffdecor.cli.topics.options import group_of
from diffdecor.cli.topics.text import as_text
from diffdecor.config import LAYOUTS, MASK_PRESETS, NOISE_KINDS, DecorrelationConfig, FilesConfig
from diffdecor.config.kinds import COUNT, WRITTEN
from diffdecor.config.options import Option, options, recorded_options
from diffdecor.images.surveys import layout_named
from diffdecor.kernels.registry import IN_TREE, kernel_formats
from diffdecor.pipeline.output_hdus import OUTPUT_HDUS
from diffdecor.pipeline.provenance import METRIC_CARDS, output_cards
from diffdecor.pipeline.results_table import BATCH_COLUMNS
from diffdecor.psfs.registry import described_formats

WITH_TABLES = {
    "options", "cards", "masks", "layouts", "kernels", "psfs", "exit-codes", "output",
}  # fmt: skip
COMMANDS = {path: command for path, command in all_commands() if not subcommands(command)}


def text_of(topic, width=80):
    result = call("help", topic, env={"COLUMNS": str(width)})
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_what_is_refused_is_said_in_json_too():
    for words in (["cardz"], ["--nosuch"]):
        check_failure(call("help", "--json", *words), 2, words[0])
        assert json_object(call("help", "--json", *words).stdout)["exit_code"] == 2


@pytest.mark.parametrize("topic", ["", *TOPICS])
def test_narrow_terminals_break_lines_themselves(topic):
    for width in (1, 2, 39):
        results = [
            call("help", *filter(None, [topic]), env={"COLUMNS": str(columns)})
            for columns in (width, 40)
        ]
        assert [(one.exit_code, one.stderr) for one in results] == 2 * [(0, "")]
        assert results[0].stdout == results[1].stdout


def test_without_a_stdout_nothing_is_shown():
    command = f"{shlex.quote(sys.executable)} -m diffdecor help options >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def words_of(topic):
    return " ".join(text_of(topic).split())


def tables_of(topic):
    result = call("help", topic, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    tables = json_object(result.stdout)
    assert tables.pop("topic") == topic
    return tables


def rows_of(topic):
    """The rows of the only table of a topic."""
    (rows,) = tables_of(topic).values()
    return rows


def codes(language):
    """Every block of code in a language, with its topic."""
    return [
        pytest.param(block.text, id=topic)
        for topic in TOPICS
        for block in topic_named(topic).blocks
        if isinstance(block, Code) and block.language == language
    ]


def prose_of(topic):
    """What a topic says, without its code."""
    blocks = tuple(block for block in topic_named(topic).blocks if not isinstance(block, Code))
    return as_text(Topic(topic, TOPICS[topic], blocks), 80)


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_topic_fits_the_terminal(topic, width):
    text = text_of(topic, width)
    assert max(map(len, text.splitlines())) <= min(width, 100)
    assert text.startswith(f"{topic}: {TOPICS[topic]}\n---")
    assert not re.search(r"\n\n\n|[ \t]\n", text)
    assert not re.search(r"[`{}]", prose_of(topic))


@pytest.mark.parametrize("width", [20, 33, 47])
def test_a_narrow_terminal_gets_narrow_prose(width):
    blocks = parsed(
        "A paragraph of some words that are filled.\n\n- an item\n- another item that is longer\n\n"
        "{}",
        table("t", {"a": "first", "b": "second"}, ("some words", "some other words"), ("1", "2")),
    )
    kinds = [Paragraph, Items, Table]
    assert [type(block) for block in blocks] == kinds
    topic = Topic("name", "what it is about", blocks)
    assert max(map(len, as_text(topic, width).splitlines())) <= width


def test_the_blocks_of_a_text():
    text = "## Title\n\nTwo\nlines.\n\n```sh\nfirst\n\n  second\n```\n\n- one\n  more\n- two\n"
    assert parsed(text) == (
        Heading("Title"),
        Paragraph("Two lines."),
        Code("first\n\n  second", "sh"),
        Items(("one more", "two")),
    )


def test_the_list_has_a_line_for_every_topic():
    result = call("help", env={"COLUMNS": "80"})
    assert (result.exit_code, result.stderr) == (0, "")
    for topic, about in TOPICS.items():
        assert re.search(rf"^  {topic} +{re.escape(about)}$", result.stdout, re.MULTILINE)
    listed = json_object(call("help", "--json").stdout)["topics"]
    assert {row["topic"]: row["about"] for row in listed} == dict(TOPICS)


def test_every_module_of_a_topic_is_listed():
    """What defines `blocks` is a topic."""
    package = import_module("diffdecor.cli.topics")
    modules = {path.stem for path in Path(package.__file__).parent.glob("*.py")}
    others = {"__init__", "blocks", "bounds", "search", "text"}
    assert {name.replace("_", "-") for name in modules - others} == set(TOPICS)


def test_no_topic_is_called_like_a_command():
    assert not set(TOPICS) & set(main.list_commands(click.Context(main)))


@pytest.mark.parametrize(("mistyped", "meant"), [
    ("option", "options"), ("kernel-files", "kernels"), ("exitcodes", "exit-codes"),
    ("KERNELS", "kernels"), ("rum", "run"), ("--optoins", "options"),
])  # fmt: skip
def test_a_mistyped_topic_is_met_with_the_right_one(mistyped, meant):
    check_failure(call("help", mistyped), 2, mistyped, meant)


def test_a_topic_like_no_other():
    check_failure(call("help", "xyzzy"), 2, "xyzzy", "diffdecor help")


def test_a_word_that_is_in_the_text_of_topics():
    check_failure(call("help", "DDNMODEL"), 2, "The word is in noise, cards.")


@pytest.mark.parametrize("name", ["region", "--region", "REGION"])
def test_an_option_is_shown_by_itself(name):
    found = call("help", name)
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.startswith("--region X0:X1,Y0:Y1  ")
    assert "Decorrelate only this part of the images" in found.stdout
    assert found.stdout.count("\n") < 5
    (facts,) = json_object(call("help", name, "--json").stdout)["options"]
    assert facts["option"] == "--region"


@pytest.mark.parametrize("name", ["science-gain", "gain", "no-verify", "read_noise", "o"])
def test_options_of_images_and_switches_are_found(name):
    flags = {"science-gain": "--science-gain", "gain": "--science-gain", "o": "--output"}
    assert flags.get(name, f"--{name.replace('_', '-')}") in call("help", name).stdout


@pytest.mark.parametrize("path", [path for path, _ in all_commands() if path], ids=" ".join)
def test_help_of_a_command_is_that_of_the_command(path):
    assert call("help", *path).stdout.split() == call(*path, "--help").stdout.split()


@pytest.mark.parametrize("topic", sorted(WITH_TABLES))
def test_tables_are_json(topic):
    (rows,) = tables_of(topic).values()
    assert rows
    assert len({frozenset(row) for row in rows}) == 1, "all rows have the same fields"


def test_a_topic_without_tables_has_no_json():
    check_failure(call("help", "cron", "--json"), 2, "cron", "--json")


def test_a_long_topic_is_paged_on_a_terminal():
    def shown(topic):
        leader, follower = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "diffdecor", "help", topic],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env=os.environ | {"PAGER": "sed s,^,PAGED:,", "LINES": "60", "COLUMNS": "80"},
        )
        os.close(follower)
        text = b""
        try:
            while part := os.read(leader, 1 << 16):
                text += part
        except OSError:  # what Linux says at the end
            pass
        os.close(leader)
        assert process.wait() == 0
        return text.decode()

    assert shown("cards").count("PAGED:") > 60
    assert "PAGED:" not in shown("exit-codes")


# What every topic has to have.


def test_every_option_of_every_command_is_described_once():
    listed = rows_of("options")
    by_option = {(command, row["option"]): row for row in listed for command in row["commands"]}
    assert len(by_option) == sum(len(row["commands"]) for row in listed)
    text = text_of("options")
    terms = [line.split("  ")[1] for line in text.splitlines() if re.match(r"  -", line)]
    described = [name for term in terms for name in OPTION.findall(term)]
    for path, command in COMMANDS.items():
        for parameter in parameters(command):
            if isinstance(parameter, click.Option):
                row = by_option[" ".join(path), max(parameter.opts, key=len)]
                assert set(parameter.opts) <= set(row["flags"])
                meanings = sum(one["option"] == row["option"] for one in listed)
                assert described.count(row["option"]) == meanings, row["option"]
                assert row["text"]


def test_options_have_their_default_unit_and_card():
    rows = {row["option"]: row for row in rows_of("options")}
    text = text_of("options")
    for config_type in (DecorrelationConfig, FilesConfig):
        for item in options(config_type):
            row = rows[item.flag_name]
            default = list(item.default) if isinstance(item.default, tuple) else item.default
            assert row["default"] == default
            assert (row["card"] or "") == item.keyword
            assert (row["unit"] or "") == item.kind.unit
            assert row["choices"] == list(item.kind.choices)
            assert row["in_toml"]
        for item in recorded_options(config_type):
            assert len(re.findall(rf"\b{item.keyword}\b", text)) == 1, item.keyword
    assert "default: 0.02; card DDSHARE" in " ".join(text.split())


def test_an_option_that_is_declared_later_has_its_place():
    new = Option("DDNEW", None, COUNT, "New.", name="new")
    assert group_of(new) == "Other options"
    marked = type("Marked", (), {"role": "", "daily": True, "name": "new"})()
    assert group_of(marked) == "Daily use"


def test_every_card_is_described():
    rows = {row["card"]: row for row in rows_of("cards")}
    assert set(rows) == {card.keyword for card in output_cards()}
    assert len(rows) == len(rows_of("cards"))
    for card in METRIC_CARDS:
        assert (rows[card.keyword]["json"], rows[card.keyword]["text"]) == (
            card.name,
            card.comment,
        )
    text = text_of("cards")
    assert all(re.search(rf"^  {keyword} ", text, re.MULTILINE) for keyword in rows)


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_is_described(name):
    layout = layout_named(name)
    (row,) = (row for row in rows_of("layouts") if row["layout"] == name)
    assert row["title"] == layout.title
    text = words_of("layouts")
    assert f" {name} {layout.title}" in text
    for names in (layout.image, layout.mask, layout.noise, layout.parts):
        assert all(hdu in text for hdu in names)
    keywords = {keyword for sign in layout.signs for keyword in sign.cards}
    assert all(any(keyword in sign for sign in row["recognised_by"]) for keyword in keywords)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_names_of_files_are_those_that_are_looked_for(name):
    """Names for people, with a star for any text, against the patterns of the code."""
    layout = layout_named(name)
    for sign in layout.signs:
        assert bool(sign.file) == bool(sign.globs)
        for glob in sign.globs:
            assert re.fullmatch(sign.file, glob.replace("*", "c4d_1"))
    for companion in (layout.noise_file, layout.mask_file):
        if companion is not None:
            assert re.fullmatch(companion.looks, companion.glob.replace("*", "c4d_1"))


def test_every_preset_is_described():
    headings = [line.partition(":")[0] for line in text_of("masks").splitlines()]
    assert set(MASK_PRESETS) - {"decam"} <= set(headings)


def test_every_kernel_format_is_described():
    rows = {row["format"]: row for row in rows_of("kernels")}
    assert {name: row["description"] for name, row in rows.items()} == kernel_formats()
    for module in IN_TREE:
        readers = vars(import_module(f"diffdecor.kernels.{module}")).values()
        assert any(hasattr(reader, "identify") for reader in readers)
    assert len(rows) >= len(IN_TREE)
    assert all(row["notes"].endswith(".") for row in rows.values())


def test_every_psf_format_is_described():
    rows = {row["format"]: row for row in rows_of("psfs")}
    assert {name: row["description"] for name, row in rows.items()} == {
        name: known.description for name, known in described_formats().items()
    }
    assert all(row["notes"].endswith(".") for row in rows.values())


def test_every_exit_code_is_described():
    rows = {row["code"]: row["meaning"] for row in rows_of("exit-codes")}
    assert rows == EXIT_CODES
    for code in EXIT_CODES:
        assert re.search(rf"^ +{code}  ", text_of("exit-codes"), re.MULTILINE)


def test_every_noise_kind_and_part_is_described():
    assert [row["kind"] for row in tables_of("noise")["noise_kinds"]] == list(NOISE_KINDS)
    assert all(name in words_of("output") for name in WRITTEN)


def test_bounds_are_those_of_the_code():
    from diffdecor.fits.bounds import MOST_HDUS
    from diffdecor.fits.lock import DEAD

    bounds = {row["of"]: row["at_most"] for row in tables_of("reliability")["bounds"]}
    assert f"{MOST_HDUS} HDUs" in bounds["a file"]
    assert f"{DEAD / 60:.0f} minutes" in words_of("reliability")


def test_every_public_name_is_described():
    rows = rows_of("python")
    assert [row["name"] for row in rows] == diffdecor.__all__
    assert all(row["about"].endswith(".") for row in rows)


@pytest.fixture
def large(tmp_path):
    """A triple with noise that varies and enough sky, and the names of its files."""
    random = np.random.default_rng(5)
    shape = (128, 160)
    sigmas = np.where(np.arange(shape[1]) < 80, 2.0, 6.0), np.full(shape[1], 2.0)
    science, template = (random.normal(100.0, sigma, shape) for sigma in sigmas)
    kernel = gaussian(3, 1.2)
    padded = np.pad(template, 3, mode="wrap")
    matched = sum(
        kernel[j, i] * padded[6 - j : 6 - j + shape[0], 6 - i : 6 - i + shape[1]]
        for j in range(7)
        for i in range(7)
    )
    for name, image, sigma in zip(
        ("science", "template"), (science, template), sigmas, strict=True
    ):
        noise = fits.ImageHDU((sigma**2 * np.ones(shape)).astype(np.float32), name="VARIANCE")
        plane = fits.ImageHDU(image.astype(np.float32), name="IMAGE")
        bits = fits.ImageHDU(np.zeros(shape, np.int32), name="MASK")
        bits.header["MP_BAD"] = 0
        fits.HDUList([fits.PrimaryHDU(), plane, bits, noise]).writeto(tmp_path / f"{name}.fits")
    fits.PrimaryHDU((science - matched).astype(np.float32)).writeto(tmp_path / "difference.fits")
    side = fits.Header({"CONVSIDE": "TEMPLATE"})
    fits.PrimaryHDU(kernel, side).writeto(tmp_path / "kernel.fits")
    fits.PrimaryHDU(gaussian(7, 1.7)).writeto(tmp_path / "psf.fits")
    return tmp_path


def test_the_hdus_of_an_output_are_those_that_are_written(large):
    images = [large / f"{name}.fits" for name in ("science", "template", "difference")]
    common = ["--kernel", large / "kernel.fits", "--science-psf", large / "psf.fits"]
    every = [
        ["--significance", "--noise-realisation", "1", "--grid-step", "16", "--no-scale-by-fwhm"],
        ["--blend", "none", "--cell-size", "41", "--grid-step", "40", "--no-scale-by-fwhm"],
    ]
    written = set()
    for number, own in enumerate(every):
        output = large / f"out{number}.fits"
        result = call("run", *images, *common, *own, "-o", output)
        assert result.exit_code == 0, result.stderr
        with fits.open(output) as hdus:
            written |= {hdu.name or "PRIMARY" for hdu in hdus}
    assert written == set(OUTPUT_HDUS)
    assert {row["hdu"] for row in rows_of("output")} == written


def test_statuses_and_records_of_batches_are_described():
    found = tables_of("batches")
    assert [row["status"] for row in found["statuses"]] == [*Status]
    columns = {row["field"] for row in found["columns"]}
    assert columns == {column.name for column in BATCH_COLUMNS} - {
        card.name for card in METRIC_CARDS
    }
    assert {one.name for one in fields(Record)} <= columns | {
        row["field"] for row in found["fields"]
    }
    assert {row["code"] for row in found["exit_codes"]} == {0, 2, 3, 4, 75}


# What topics tell people to type.


@pytest.mark.parametrize("topic", TOPICS)
def test_topics_name_real_options_and_topics_only(topic):
    text = " ".join(prose_of(topic).split())
    assert set(OPTION.findall(text)) <= real_options() | {"--output-kernel-list"}
    assert set(re.findall(r"diffdecor help ([a-z-]+)", text)) <= set(TOPICS)


def commands_in(text):
    """Give the words of every call of diffdecor in a shell script, with values for variables."""
    for line in text.replace("\\\n", " ").splitlines():
        found = re.match(r"\s*(?:exec )?diffdecor (.*?)(?:\|.*)?$", line)
        if found:
            yield shlex.split(re.sub(r"\$\{[^}]*\}|\$\w+", "2", found[1]), comments=True)


@pytest.mark.parametrize("script", codes("sh"))
def test_commands_of_topics_can_be_called(script):
    found = list(commands_in(script))
    assert found
    for words in found:
        command, left, context = main, words, click.Context(main, info_name="diffdecor")
        while isinstance(command, click.Group):
            name, command, left = command.resolve_command(context, left)
            context = click.Context(command, context, name)
        command.make_context(name, left, context.parent)


@pytest.mark.parametrize("script", codes("sh"))
@pytest.mark.skipif(shutil.which("sh") is None, reason="no shell")
def test_scripts_are_sound(script):
    done = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("text", codes("toml"))
def test_toml_of_topics_is_read(text):
    assert tomllib.loads(text)["member"]


def test_the_examples_in_python_run(work, monkeypatch, capsys):
    monkeypatch.chdir(work.folder)
    examples = [param.values[0] for param in codes("python") if param.id == "python"]
    for example, shown in zip(examples, ("(40, 48)", "white: max |rho|"), strict=True):
        exec(compile(example, "example", "exec"), {})  # noqa: S102  that is what is tested
        assert capsys.readouterr().out.startswith(shown)
