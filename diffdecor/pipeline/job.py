"""A job: what one run reads and writes, and its outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from diffdecor.config import DecorrelationConfig, FilesConfig
from diffdecor.config.kinds import FIT
from diffdecor.config.options import options

#: The images.
ROLES = ("science", "template", "difference")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What one run reads and writes, and how."""

    #: Image files, with an extension in brackets if need be; the difference may be alone.
    science: str | None = None
    template: str | None = None
    difference: str
    #: Kernel file, or `FIT`; by default the difference carries its kernel, or it is found.
    kernel: str | None = None
    #: File to write; empty for a job that writes nothing.
    output: str = ""
    #: File that the options came from; like all inputs it is never overwritten.
    configuration: str | None = None
    decorrelation: DecorrelationConfig = field(default_factory=DecorrelationConfig)
    files: FilesConfig = field(default_factory=FilesConfig)
    #: Replace the output if it is there.
    overwrite: bool = False
    #: Picture that is drawn of the output; no file that the job reads or writes otherwise.
    plot: str | None = None

    @property
    def is_alone(self) -> bool:
        """Whether there is nothing but the difference."""
        return self.science is None and self.template is None

    @property
    def kernel_file(self) -> str | None:
        """The kernel file, if one is named."""
        return None if self.kernel == FIT else self.kernel

    @property
    def images(self) -> dict[str, str]:
        """The image files, by their role."""
        files = {role: getattr(self, role) for role in ROLES}
        return {role: file for role, file in files.items() if file is not None}

    @property
    def written(self) -> list[str]:
        """Every file that is written."""
        return [self.output, *self.files.written.values(), *filter(None, [self.plot])]

    @property
    def inputs(self) -> dict[str, str]:
        """Every file that is named, by its role: what the job or its options call it."""
        files = {role: getattr(self, role) for role in (*ROLES, "configuration")}
        files["kernel"] = self.kernel_file
        for item in options(FilesConfig):
            if item.is_file:
                files[item.name] = item.value_in(self.files)
        centroids = self.decorrelation.cell_centroids
        files["cell_centroids"] = centroids if isinstance(centroids, str) else None
        return {role: file for role, file in files.items() if file}


@dataclass(frozen=True)
class Outcome:
    """What came of a job: its status, ``done`` or ``already done``, and metrics by name."""

    status: str
    metrics: Mapping[str, object]
    #: Why the noise of the result exceeds the limits of its options; empty if it does not.
    failures: Sequence[str] = ()
    #: Texts of the warnings of this run.
    warnings: Sequence[str] = ()
    #: Every file that was read, by its role: those that were named, and those found beside them.
    inputs: Mapping[str, str] = field(default_factory=dict)
    #: Files that would have been read if they had been there, and others that were.
    sought: Sequence[str] = ()
