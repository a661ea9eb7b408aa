"""Every option, described once, under the headings of their use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from diffdecor.cli.configs import SECTIONS
from diffdecor.cli.topics.blocks import Block, Heading, Row, Table, parsed
from diffdecor.config import ImageOptions
from diffdecor.config.options import Option, options

#: The command whose options come first, and those that are declared for a part of it.
_FIRST = "run"
#: Which options are under which heading; others are under the last one.
_DAILY, _OF_IMAGES, _OTHERS = "Daily use", "Files of each image", "Other options"
_GROUPS: Mapping[str, Sequence[str]] = {
    "Method": ("mode", "convolved", "score", "noise_model", "variance", "significance",
               "science_variance", "template_variance", "science_scale", "template_scale"),
    "Files of science image and template": (
        "layout", "noise_kind", "gain", "read_noise", "diffcmd"),
    "Masks and missing pixels": (
        "mask_preset", "bad_bits", "ignore_bits", "mask_codes", "zero_borders", "ignore_planes",
        "fill_planes", "flag_share"),
    "Kernels": ("kernel_position", "kernel_sense", "kernel_center", "preconvolution_kernel",
                "verify"),
    "Grid of filters": ("grid_step", "cell_size", "scale_by_fwhm"),
    "Output": ("filters", "dtype", "write", "quantize", "noise_realisation"),
    "Limits and checks": ("max_rho", "max_factor", "strict", "force", "ignore_checksums"),
    "Time and memory": ("threads", "max_memory", "precision"),
    "As in LSST's code": ("blend", "edges", "fill", "cell_border", "adjust_grid",
                          "cell_centroids"),
}  # fmt: skip
#: Options that mean something else in another command.
_OF_ONE_COMMAND = {"--difference", "--plot"}
_WORDS = {"image": "the image", "role": "image's", "use": ""}
_TEXT = """
Options of diffdecor run, and what other commands have beside them. They can also be set in a TOML
file, without the dashes, which --config reads; the command line takes precedence. --print-config
prints all that are in effect in this form. Each option is described once; [card X] names the card
of the output that records it.

{}
"""


@dataclass(frozen=True)
class _Known:
    """An option as it is declared, on the command line and, if it is one of them, in a config."""

    commands: tuple[str, ...]
    parameter: click.Option
    item: Option | None

    @property
    def facts(self) -> dict[str, Any]:
        """What programs may want to know."""
        item, parameter = self.item, self.parameter
        flags = [*parameter.opts, *parameter.secondary_opts]
        said = item.help if item is not None else parameter.help or ""
        text, _, default = said.partition("  [default")
        return {
            "option": max(parameter.opts, key=len),
            "flags": flags,
            "commands": list(self.commands),
            "group": group_of(item),
            "value": None if parameter.is_flag or parameter.count else _value(self),
            "choices": list(item.kind.choices) if item else [],
            "unit": (item.kind.unit or None) if item else None,
            "default": item.default if item else None,
            "default_text": default.strip(" :]") or None,
            "card": (item.keyword or None) if item else None,
            "in_toml": item is not None and _FIRST in self.commands,
            "text": text,
        }


def group_of(item: Option | None) -> str:
    """Return the heading of an option; those of no config are of daily use."""
    if item is None:
        return _DAILY
    if item.role:
        return _OF_IMAGES
    if getattr(item, "daily", False):
        return _DAILY
    return next((group for group, names in _GROUPS.items() if item.name in names), _OTHERS)


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    known = known_options()
    of_run = [one for one in known if _FIRST in one.commands]
    parts: list[Block] = []
    for group in (_DAILY, _OF_IMAGES, *_GROUPS, _OTHERS):
        members = [one for one in of_run if group_of(one.item) == group]
        if members:
            of_group = _of_images(members) if group == _OF_IMAGES else map(_row, members)
            parts += [Heading(group), Table("options", (), tuple(of_group))]
    others = [one for one in known if _FIRST not in one.commands]
    for commands in dict.fromkeys(one.commands for one in others):
        rows = [_row(one) for one in others if one.commands == commands]
        heading = Heading(f"Only of diffdecor {', '.join(commands)}")
        parts += [heading, Table("options", (), tuple(rows))]
    return parsed(_TEXT, parts)


def known_options() -> list[_Known]:
    """Return every option of every command once: as the first command has it that has it."""
    declared = {item.flag_name: item for config in SECTIONS.values() for item in options(config)}
    own = {item.flag_name: _in_words(item) for item in options(ImageOptions)}
    found: dict[tuple[str, str | None], _Known] = {}
    for name, parameter in _parameters():
        flag = max(parameter.opts, key=len)
        key = flag, parameter.help if flag in _OF_ONE_COMMAND else None
        if key in found:
            before = found[key]
            found[key] = _Known((*before.commands, name), before.parameter, before.item)
        else:
            item = declared.get(flag) if name == _FIRST else declared.get(flag) or own.get(flag)
            found[key] = _Known((name,), parameter, item)
    return list(found.values())


def _in_words(item: Option) -> Option:
    """Return an option of an image that has no role; no card records it."""
    text = item.help.format(**_WORDS).replace("--mask-preset", "that of the layout")
    return item._replace(help=text, keyword="")


def _parameters() -> Iterator[tuple[str, click.Option]]:
    """Give the options of all commands that are not groups, those of `run` first."""
    from diffdecor.cli import main

    root = click.Context(main, info_name="diffdecor", **main.context_settings)
    commands = sorted(_commands(main, root, ()), key=lambda named: named[0] != _FIRST)
    for name, command, context in commands:
        for parameter in command.get_params(context):
            if isinstance(parameter, click.Option) and not parameter.hidden:
                yield name, parameter


def _commands(
    group: click.Group, context: click.Context, path: tuple[str, ...]
) -> Iterator[tuple[str, click.Command, click.Context]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None:
            continue
        own = click.Context(command, context, name)
        if isinstance(command, click.Group):
            yield from _commands(command, own, (*path, name))
        else:
            yield " ".join((*path, name)), command, own


def _value(known: _Known) -> str:
    """Return what stands for the value of an option."""
    item, parameter = known.item, known.parameter
    if item is None:
        return parameter.metavar or parameter.type.name.upper()
    return item.kind.metavar or "|".join(item.kind.choices)


def _row(known: _Known) -> Row:
    facts = known.facts
    flags = ", ".join(sorted(known.parameter.opts, key=len))
    if known.parameter.secondary_opts:
        flags += " / " + ", ".join(known.parameter.secondary_opts)
    term = f"{flags} {facts['value']}" if facts["value"] else flags
    return Row((term, _text(facts, known.item, [facts["card"]])), facts)


def _of_images(members: Sequence[_Known]) -> Iterator[Row]:
    """Give a row for every option of the images, with those of several images together."""
    words = {item.name: _in_words(item) for item in options(ImageOptions)}
    together: dict[str, list[_Known]] = {}
    for one in members:
        assert one.item is not None  # noqa: S101  for the checker of types
        together.setdefault(one.item.own_name, []).append(one)
    for name, several in together.items():
        item = words[name]
        facts = [one.facts for one in several]
        term = ", ".join(str(one["option"]) for one in facts)
        value = facts[0]["value"]
        cards = [one["card"] for one in facts]
        if item.kind.choices and value != item.kind.metavar:
            term, chosen = f"{term} KIND", {"choices_text": ", ".join(item.kind.choices)}
        else:
            term, chosen = f"{term} {value}", {}
        text = _text({**facts[0], "text": item.help.partition("  [")[0], **chosen}, item, cards)
        yield Row((term, text), facts[0], tuple(facts[1:]))


def _text(facts: Mapping[str, Any], item: Option | None, cards: Sequence[str | None]) -> str:
    """Return what is said of an option: its help, unit, default and card."""
    parts = [str(facts["text"])]
    if choices := facts.get("choices_text"):
        parts.append(f"KIND is one of {choices}.")
    about = []
    if facts["unit"]:
        about.append(f"in {facts['unit']}")
    default = facts["default_text"] or (None if item is None else _shown(item))
    if default:
        about.append(f"default: {default}")
    named = [card for card in cards if card]
    if named:
        about.append(f"card {', '.join(named)}")
    if about:
        parts.append(f"[{'; '.join(about)}]")
    return " ".join(parts)


def _shown(item: Option) -> str | None:
    """Return a default in words; None if there is none."""
    if item.is_switch:
        return "on" if item.default else "off"
    if isinstance(item.default, tuple):
        return ", ".join(f"{x:g}" if isinstance(x, float) else str(x) for x in item.default)
    return None if item.default is None else str(item.default)
