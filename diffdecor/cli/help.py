"""``diffdecor help``: reference tables and how-tos by topic, made from the tables in the code."""

from __future__ import annotations

import shutil
import sys
from difflib import get_close_matches
from typing import TYPE_CHECKING, NoReturn

import click

from diffdecor.cli.options import JsonCommand, json_option, print_json
from diffdecor.cli.topics import TOPICS, topic_named
from diffdecor.cli.topics.search import options_named, topics_with
from diffdecor.cli.topics.text import as_text, facts_of, term_list

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    _Strings = click.ParamType[str]  # which older versions of click do not subscript
else:
    _Strings = click.ParamType

#: Columns of the narrowest text and of the widest.
_NARROWEST, _WIDEST = 40, 100


class _Words(_Strings):
    """Words that name a topic or a command, which a shell completes."""

    name = "text"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete the name of a topic or of a command."""
        from click.shell_completion import CompletionItem

        names = [*TOPICS, *_command_names(ctx)]
        found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
        return found or super().shell_complete(ctx, param, incomplete)


@click.command(cls=JsonCommand, context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=_Words(), metavar="[TOPIC]")
@json_option("Print the tables of the topic as one JSON object; the list of topics without one.")
@click.pass_context
def help(  # noqa: A001  the command is called so
    context: click.Context, /, *, words: tuple[str, ...], as_json: bool
) -> None:
    """Show the reference on TOPIC, or the list of topics.

    The name of a command shows what its --help does, that of an option what is said of it.
    """
    width, height = shutil.get_terminal_size()
    width = max(_NARROWEST, min(width, _WIDEST))
    if not words:
        _show_list(width, as_json=as_json)
        return
    name = " ".join(words)
    if name in TOPICS:
        topic = topic_named(name)
        if as_json:
            if not topic.tables:
                msg = f"the topic {name} has no tables; leave out --json"
                raise click.UsageError(msg)
            print_json(facts_of(topic))
            return
        text = as_text(topic, width)
    elif (command := _command(context, words)) is not None:
        text = command
    else:
        rows = options_named(name)
        if not rows:
            _refuse(context, name)
        if as_json:
            print_json({"options": [facts for row in rows for facts in (row.facts, *row.further)]})
            return
        text = term_list([(row.cells[0], row.cells[1]) for row in rows], width) + "\n"
    # There is no stdout at all where it has been closed.
    if sys.stdout and sys.stdout.isatty() and text.count("\n") >= height:
        click.echo_via_pager(text)
    else:
        click.echo(text, nl=False)


def _show_list(width: int, *, as_json: bool) -> None:
    if as_json:
        print_json({"topics": [{"topic": name, "about": about} for name, about in TOPICS.items()]})
        return
    click.echo("Topics of diffdecor help TOPIC:\n")
    click.echo(
        "\n".join("  " + line for line in term_list([*TOPICS.items()], width - 2).split("\n"))
    )
    click.echo(
        "\ndiffdecor COMMAND --help shows the options of a command.\n"
        "Of one option, such as --gain, diffdecor help gain shows what it does."
    )


def _command(context: click.Context, words: tuple[str, ...]) -> str | None:
    """Return the help of a command, which may be one of a group; None if there is none."""
    of_program = context.find_root()
    command: click.Command | None = of_program.command
    own = of_program
    for word in words:
        command = command.get_command(own, word) if isinstance(command, click.Group) else None
        if command is None:
            return None
        own = click.Context(command, own, word, **command.context_settings)
    assert command is not None  # noqa: S101  for the checker of types
    return command.get_help(own) + "\n"


def _command_names(context: click.Context) -> list[str]:
    root = context.find_root()
    return root.command.list_commands(root) if isinstance(root.command, click.Group) else []


def _refuse(context: click.Context, name: str) -> NoReturn:
    """Refuse what is not a topic, command or option, and say where to look."""
    like = get_close_matches(name.lower(), [*TOPICS, *_command_names(context)], n=3, cutoff=0.5)
    if like:
        hint = f"Did you mean {' or '.join(like)}?"
    elif told := topics_with(name):
        hint = f"The word is in {', '.join(told)}."
    else:
        hint = "`diffdecor help` lists them."
    msg = f"No such topic '{name}'. {hint}"
    raise click.UsageError(msg)
