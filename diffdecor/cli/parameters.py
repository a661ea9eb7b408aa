"""The types of options and arguments: what click checks, and what a shell completes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from diffdecor.config import kinds

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    _Type = click.ParamType[Any]  # which older versions of click do not subscript
else:
    _Type = click.ParamType


class KindType(_Type):
    """The values of a kind of option: what its parser takes. Files and choices are completed."""

    name = "value"

    def __init__(self, kind: kinds.Kind) -> None:
        self.kind = kind

    def convert(
        self,
        value: Any,  # noqa: ANN401  as in click
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:  # noqa: ANN401
        """Return the parsed value; of an option that may be given several times, its text."""
        try:
            parsed = self.kind.parse(value)
        except ValueError as error:
            text = str(error) if value == "" else f"{kinds.shown(value)}: {error}"
            self.fail(text, param, ctx)
        return value if self.kind.several else parsed

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete one of a few values, or the name of a file, by itself or in ``NAME=FILE``."""
        from click.shell_completion import CompletionItem

        if self.kind.choices:
            names = [choice for choice in self.kind.choices if choice.startswith(incomplete)]
            return [CompletionItem(name) for name in names]
        if self.kind is kinds.WRITES and "=" not in incomplete:
            names = [f"{name}=" for name in kinds.WRITTEN if name.startswith(incomplete)]
            return [CompletionItem(name) for name in names]
        if self.kind.metavar.endswith("FILE"):
            words = [word for word in self.kind.words if word.startswith(incomplete)]
            return [*map(CompletionItem, words), CompletionItem(incomplete, type="file")]
        return super().shell_complete(ctx, param, incomplete)


#: A file that is read: not the empty name that an unset variable of a shell script leaves.
INPUT_FILE = KindType(kinds.FILE)
#: That of a kernel, or what stands for one.
KERNEL_FILE = KindType(kinds.KERNEL)
#: A file that is written.
OUTPUT_FILE = KindType(kinds.OUTPUT)
