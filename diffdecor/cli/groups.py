"""Groups of commands: their help, and what is said of a command that there is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click


class Group(click.Group):
    """A group whose help has its commands in the order of use, with all of their descriptions."""

    def descriptions(self, _ctx: click.Context) -> Mapping[str, str]:
        """Return what every command does, in one line, by name."""
        return {name: one.get_short_help_str(200) for name, one in self.commands.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(self.descriptions(ctx))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.descriptions(ctx).items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[Any, Any, list[str]]:  # as in click, whose versions differ
        """Return the command that is called; refuse a name that there is not."""
        name = args[0]
        if not (name.startswith("-") or ctx.resilient_parsing or name in self.descriptions(ctx)):
            raise click.UsageError(_unknown(name, list(self.descriptions(ctx))), ctx)
        return super().resolve_command(ctx, args)


def _unknown(name: str, names: list[str]) -> str:
    """Return what to say of a command that there is not."""
    from difflib import get_close_matches

    like = [f"{match!r}" for match in get_close_matches(name.lower(), names)]
    advice = f"Did you mean {' or '.join(like)}?" if like else f"There are {', '.join(names)}."
    return f"No such command {name!r}. {advice}"
