"""What a person sees who asks for help, or mistypes."""

import ast
import re
from pathlib import Path

import click
import pytest
from helpers.workplace import (
    OPTION,
    all_commands,
    call,
    check_failure,
    parameters,
    real_options,
    subcommands,
)

import diffdecor
from diffdecor.cli import EXIT_CODES, main
from diffdecor.cli.configs import ConfigOption
from diffdecor.cli.options import ConfiguredCommand
from diffdecor.cli.run import run

SOURCES = sorted(Path(diffdecor.__file__).parent.rglob("*.py"))
# Options of other programs, and the beginnings of names that are put together.
OF_SCHEDULERS = {
    "--job-name",
    "--array",
    "--cpus-per-task",
    "--mem",
    "--time",
    "--output",
    "--state",
    "--format",
    "--requeue",
    "--lifetime",
    "--lifetime-stagger",
    "--nworkers",
    "--nthreads",
    "--memory-limit",
    "--no-dashboard",
    "--death-timeout",
}
FOREIGN = {"--output-kernel-list", "--science", "--no-science", *OF_SCHEDULERS}
ROLES = ("science", "template", "difference")


def is_mentioned(name, text):
    return re.search(rf"(?<![\w-]){name}(?![\w-])", text)


def is_shown(command, param):
    """Say whether the help of a command shows an option: if it is its own, or of daily use."""
    if not isinstance(command, ConfiguredCommand) or not isinstance(param, ConfigOption):
        return True
    return param.declared.daily and param.declared.name not in command.not_in_help


@pytest.mark.parametrize(
    ("path", "command"),
    list(all_commands()),
    ids=lambda x: " ".join(x) if isinstance(x, tuple) else "",
)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_mentions_everything(path, command, flag):
    result = call(*path, flag)
    assert result.exit_code == 0
    assert result.stderr == ""
    for param in parameters(command):
        names = [*param.opts, *param.secondary_opts]
        if not names[0].startswith("-"):
            assert param.human_readable_name.upper() in result.stdout
        elif is_shown(command, param):
            assert is_mentioned(names[0], result.stdout), names
        else:
            assert not any(is_mentioned(f"{name} ", result.stdout) for name in names), names
    for name in subcommands(command):
        assert name in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_commands_are_in_the_order_of_use_each_on_a_line():
    for path, command in all_commands():
        names = list(subcommands(command))
        _, mark, text = call(*path, "--help", terminal_width=80).stdout.partition("Commands:\n")
        lines = re.findall(r"^  (\w+) +(\S.*)$", text.partition("\n\n")[0], re.MULTILINE)
        assert [name for name, _ in lines] == names
        assert all(len(what) < 72 and what.endswith(".") and "..." not in what for _, what in lines)
        assert bool(mark) == bool(names)
    known = ["run", "check", "verify", "kernel"]
    assert [name for name in subcommands(main) if name in known] == known


def test_the_help_of_run_has_some_twenty_options_and_says_where_the_others_are():
    text = call("run", "--help").stdout
    assert 20 <= len(re.findall(r"^  -", text, re.MULTILINE)) <= 30
    assert "`diffdecor help options` has all" in text
    ours = {param.opts[0] for param in parameters(run)}
    assert "--adjust-grid" in ours
    assert "--adjust-grid" not in text


def test_every_option_has_a_help_text():
    for path, command in all_commands():
        assert command.help, path
        for param in parameters(command):
            if isinstance(param, click.Option):
                assert param.help, (path, param.name)
                assert param.help.rstrip("]")[0].isupper(), param.help


def test_the_program_alone_shows_its_help():
    result = call()
    assert result.exit_code in {0, 2}
    assert "Usage: " in result.output
    assert "run" in result.output


def test_the_help_lists_the_exit_codes():
    text = " ".join(call("--help").stdout.split())
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in text


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_the_version(flag):
    result = call(flag)
    assert (result.exit_code, result.stderr) == (0, "")
    assert diffdecor.__version__ in result.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nonsense"], "nonsense"),
        (["kernel", "nonsense"], "nonsense"),
        (["run"], "SCIENCE"),
        (["run", "a.fits", "b.fits"], "DIFFERENCE"),
        (["run", "a.fits", "b.fits", "c.fits"], "--output"),
        (["run", "a.fits", "b.fits", "c.fits", "d.fits"], "d.fits"),
        (["run", "", "b.fits", "c.fits"], "SCIENCE"),
        (["verify"], "SCIENCE"),
        (["verify", "", "", ""], "SCIENCE"),
        (["verify", "a.fits", "b.fits", "c.fits", "--kernel", ""], "--kernel"),
        (["verify", "a.fits", "b.fits", "c.fits", "--config", ""], "--config"),
        (["kernel", "info"], "KERNEL"),
        (["kernel", "info", ""], "KERNEL"),
        (["kernel", "info", "a", "b"], "b"),
        (["kernel", "convert", "a"], "OUT"),
    ],
)
def test_usage(arguments, says):
    check_failure(call(*arguments), 2, says)


def test_a_mistyped_option_is_met_with_the_right_one():
    assert "--kernel" in call("run", "--kernal", "x").stderr


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["chek"], "No such command 'chek'. Did you mean 'check'?"),
        (["Run"], "Did you mean 'run'?"),
        (["verfy", "a.fits"], "Did you mean 'verify'?"),
        (["kernel", "inof"], "No such command 'inof'. Did you mean 'info'?"),
        (["kernel", "polt"], "Did you mean 'plot'?"),
        (["xyzzy"], "There are run, check, "),
        (["kernel", "xyzzy"], "There are info, convert, plot, fit."),
    ],
)
def test_a_mistyped_command_is_met_with_the_right_one(given, says):
    check_failure(call(*given), 2, says)


def mentioned(tree):
    """Give every option that is mentioned in a text, as the set of what it may mean."""
    inside = set()
    for node in ast.walk(tree):  # f-strings come before their parts
        if isinstance(node, ast.JoinedStr):
            inside |= {id(part) for part in node.values}
            with_role = [
                "".join(p.value if isinstance(p, ast.Constant) else role for p in node.values)
                for role in ROLES
            ]
            yield from map(set, zip(*map(OPTION.findall, with_role), strict=True))
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in inside
        ):
            yield from ({name} for name in OPTION.findall(node.value))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_options_that_are_mentioned_exist(path):
    known = real_options() | FOREIGN
    for names in mentioned(ast.parse(path.read_text())):
        assert names & known, names


def test_the_readme_mentions_real_options_only():
    readme = Path(diffdecor.__file__).parents[1] / "README.md"
    if not readme.exists():
        pytest.skip("installed without README")
    code = re.findall(r"diffdecor [^\n`]*(?:\\\n[^\n`]*)*", readme.read_text())
    mentioned = {name for text in code for name in OPTION.findall(text)}
    assert "--kernel" in mentioned
    assert mentioned <= real_options()
