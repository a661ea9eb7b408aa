"""The generated parts of the README. `make docs` writes them, a test compares them."""

from pathlib import Path

import click

from diffdecor.cli import EXIT_CODES, main
from diffdecor.cli.check import check
from diffdecor.cli.configs import SECTIONS, help_text
from diffdecor.cli.kernel import convert, info, plot
from diffdecor.cli.run import run
from diffdecor.cli.verify import verify
from diffdecor.config.options import options
from diffdecor.pipeline.provenance import METRIC_CARDS, SOURCE_CARDS, VERSION_CARD

README = Path(__file__).parents[1] / "README.md"
WIDTH = 100


def help_of(command, *names):
    """The help text of a command, as a terminal of fixed width shows it."""
    context = click.Context(
        command,
        info_name=names[-1],
        parent=click.Context(main, info_name=" ".join(names[:-1]), **main.context_settings),
        terminal_width=WIDTH,
        max_content_width=WIDTH,
    )
    return f"```text\n{command.get_help(context)}\n```"


def own_help_of(command, *names):
    """The help text of a command without the sections of options that `run` has, too."""
    own, _, _ = help_of(command, *names).partition("\n\nDecorrelation:")
    return own + "\n```"


def option_table():
    """Every option of the numerics and of the files: name, default, card, what it does."""
    lines = ["| option | card | what it does |", "| --- | --- | --- |"]
    for config_type in SECTIONS.values():
        for item in options(config_type):
            text = help_text(item).replace("|", "\\|").replace("  [", " [")
            card = f"`{item.keyword}`" if item.keyword else "-"
            lines.append(f"| `{item.flag_name}` | {card} | {text} |")
    return "\n".join(lines)


def card_table():
    """Every card of the output that is not an option."""
    lines = ["| card | in JSON | unit | what it is |", "| --- | --- | --- | --- |"]
    lines += [
        f"| `{card.keyword}` | | {card.unit} | {card.comment} |"
        for card in (VERSION_CARD, *SOURCE_CARDS)
    ]
    lines += [
        f"| `{card.keyword}` | `{card.name}` | {card.unit} | {card.comment} |"
        for card in METRIC_CARDS
    ]
    return "\n".join(lines)


def exit_table():
    """Every exit code."""
    lines = ["| code | meaning |", "| --- | --- |"]
    return "\n".join(lines + [f"| {code} | {text} |" for code, text in EXIT_CODES.items()])


def blocks():
    """The generated blocks by name."""
    return {
        "run": help_of(run, "diffdecor", "run"),
        "kernel-info": help_of(info, "diffdecor", "kernel", "info"),
        "kernel-convert": help_of(convert, "diffdecor", "kernel", "convert"),
        "kernel-plot": help_of(plot, "diffdecor", "kernel", "plot"),
        "check": help_of(check, "diffdecor", "check"),
        "verify": own_help_of(verify, "diffdecor", "verify"),
        "options": option_table(),
        "cards": card_table(),
        "exit-codes": exit_table(),
    }


def generated(text):
    """Return a README with all its generated blocks written anew."""
    for name, block in blocks().items():
        start, end = f"<!-- generated: {name} -->\n", f"\n<!-- end: {name} -->"
        head, found, rest = text.partition(start)
        assert found, f"README.md has no block {name}"
        text = head + start + block + end + rest.partition(end)[2]
    return text


if __name__ == "__main__":
    README.write_text(generated(README.read_text(encoding="utf-8")), encoding="utf-8")
