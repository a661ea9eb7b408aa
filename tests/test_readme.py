"""The README tells the truth: generated parts are up to date, examples name real options."""

import re

import pytest
from helpers.workplace import all_commands, parameters, subcommands
from readme import README, generated


def test_generated_parts_are_up_to_date():
    text = README.read_text(encoding="utf-8")
    # Versions of click break lines in different places.
    assert generated(text).split() == text.split(), "run `make docs`"


COMMANDS = [(path, command) for path, command in all_commands() if not subcommands(command)]


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=str)
def test_every_command_and_option_has_help_and_is_in_the_readme(path, command):
    text = README.read_text(encoding="utf-8")
    assert "diffdecor " + " ".join(path) in text
    assert command.help
    for parameter in parameters(command):
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.name
            assert parameter.opts[-1] in text


def test_readme_names_no_option_that_does_not_exist():
    known = {"--help", "--version"}
    for _, command in COMMANDS:
        for parameter in parameters(command):
            known |= {*parameter.opts, *parameter.secondary_opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README.read_text(encoding="utf-8")))
    assert named <= known
