"""Draw an output: all pictures for a page of its own, or one for a page of many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffdecor.core.interpolate import Stamps
from diffdecor.core.parallel import affordable_threads, threads_for
from diffdecor.core.planes import streamed
from diffdecor.fits.reading import Reading
from diffdecor.fits.sums import check_sums
from diffdecor.images.model import Exposure
from diffdecor.pipeline.results_table import number_of
from diffdecor.report.before_after import PAGE_DPI, before_after_png
from diffdecor.report.curves import filters_picture, histogram_picture, power_picture, psf_picture
from diffdecor.report.drawing import Picture
from diffdecor.report.maps import (
    correlation_pictures,
    field_pictures,
    level_picture,
    part_pictures,
    variance_pictures,
)
from diffdecor.report.measures import Pair, measure
from diffdecor.report.noise_numbers import (
    correlation_of_lags,
    correlation_of_sums,
    depth_change,
)
from diffdecor.report.origins import open_difference, open_result
from diffdecor.report.outputs import Output, filters_of, lag_images
from diffdecor.report.page import Drawn, Group
from diffdecor.report.psf_numbers import (
    Stamp,
    change_over_field,
    filters_over_field,
    psf_at_centre,
    psf_before,
    shown_part,
)

#: Memory of a thread per pixel of the rows it works on, roughly, bytes; and these rows.
_BYTES, _ROWS = 120, 320

#: Names of the pictures of a page of one output, and of the one on a page of many.
PICTURES = (
    *(
        f"{what}_{when}"
        for what in ("field", "pixels", "correlation", "variance")
        for when in ("before", "after")
    ),
    *("significance_of_sources", "significance_of_pixels", "power", "psf", "filters", "noise"),
)
SUMMARY = "before_after"

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What was drawn, and the files that were read for it besides the output."""

    drawn: Drawn
    files: list[str]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Measured:
    """What was measured of an output."""

    pair: Pair | None
    filters: Stamps | None
    lags: Mapping[str, Values]
    stamps: Mapping[str, Stamp]
    notes: list[str]
    files: list[str]
    shape: tuple[int, int]
    unit: str


def draw_all(output: Output, given: Sequence[str], threads: int | None, max_memory: int) -> Drawing:
    """Draw everything that an output shows, with the difference that it was made of.

    That is the file, or in the folders, that are `given`, or where `open_difference` finds it.

    Raises a DiffdecorError if the output cannot be read.
    """
    found = _measured(output, given, threads, max_memory)
    return Drawing(drawn=Drawn(groups=_groups(output, found), notes=found.notes), files=found.files)


def draw_summary(
    output: Output, given: Sequence[str], threads: int | None, max_memory: int
) -> Drawing:
    """Draw one picture of an output; raises what `draw_all` does."""
    found = _measured(output, given, threads, max_memory)
    groups = []
    if found.pair is not None:
        png = before_after_png(found.pair, "", PAGE_DPI, few_colours=True)
        picture = Picture(
            name=SUMMARY,
            title="Before and after",
            caption="Good, after: fine grain, no pattern in the corner, the blue line on the dots "
            "(real sources lift its wings).",
            alt="Pixels before and after on one stretch, their correlation by lag, and "
            "histograms of significance.",
            png=png,
            width=900,
            height=365,
        )
        groups.append(Group(title="", pictures=[picture]))
    return Drawing(drawn=Drawn(groups=groups, notes=found.notes), files=found.files)


def _measured(
    output: Output, given: Sequence[str], threads: int | None, max_memory: int
) -> _Measured:
    filters, lags = filters_of(output.file), lag_images(output.file)
    with Reading(max_memory // 2) as reading:  # for unpacked planes
        after = open_result(output, reading)
        origin = open_difference(output, given, reading)
        stamps = known_psfs(output, after, origin.exposure, filters)
        pair = None
        notes = [origin.note] if origin.note else []
        if has_data(after):
            pair = measured_pair(output, after, origin.exposure, stamps, threads, max_memory)
        else:
            notes.append("No pixel of the output has data: there is nothing to draw.")
        check_sums([output.file], reading.files, reading)
        header = after.header
        return _Measured(
            pair=pair,
            filters=filters,
            lags=lags,
            stamps=stamps,
            notes=[*notes, *_notes(output, after, filters, stamps)],
            files=[] if origin.exposure is None else [origin.exposure.name],
            shape=after.shape,
            unit="" if header is None else str(header.get("BUNIT", "")).strip(),
        )


def has_data(exposure: Exposure) -> bool:
    """Say whether any pixel of an image is finite."""
    return any(np.isfinite(pixels).any() for _, pixels in streamed(exposure.image))


def measured_pair(
    output: Output,
    after: Exposure,
    before: Exposure | None,
    stamps: Mapping[str, Stamp],
    threads: int | None,
    max_memory: int,
) -> Pair:
    """Measure a result and the difference as it was, with no more threads than memory allows."""
    number = threads_for(math.prod(after.shape), threads)
    number = affordable_threads(number, max_memory, _BYTES * _ROWS * after.shape[1])
    return measure(after, before, output.planes_to_ignore, number, stamps)


def known_psfs(
    output: Output, after: Exposure, before: Exposure | None, filters: Stamps | None
) -> dict[str, Stamp]:
    """Return the PSFs in the middle of the image, as far as they are known."""
    own = None if before is None else psf_at_centre(before.psf, before.shape)
    now = psf_at_centre(after.psf, after.shape)
    if own is None and now is not None and filters is not None:
        own = psf_before(now, filters, after.shape, number_of(output.metrics, "fwhm_before"))
    both = {"before": own, "after": now}
    return {name: stamp for name, stamp in both.items() if stamp is not None}


def _notes(
    output: Output, after: Exposure, filters: Stamps | None, stamps: Mapping[str, Stamp]
) -> list[str]:
    """Return what is missing on the page, and why."""
    notes = []
    if after.psf is None:
        notes.append("There is no PSF: nothing is said of point sources.")
    elif "before" not in stamps:
        notes.append(
            "The PSF of the difference as it was is not in the output and cannot be recovered from "
            "it; only its widths are known."
        )
    if after.variance is None:
        notes.append(
            "There is no variance plane: significances are in units of the measured sigma."
        )
    if filters is None and output.status == "done":
        notes.append("The decorrelation kernels were not written (--no-filters).")
    return notes


def _groups(output: Output, found: _Measured) -> list[Group]:
    """Return the pictures of a page, by heading."""
    pair, metrics = found.pair, output.metrics
    correlations = _correlations(found)
    measured = {
        name: float(lags[lags.shape[0] // 2, lags.shape[1] // 2])
        for name, lags in found.lags.items()
    }
    groups: list[tuple[str, Sequence[Picture | None]]] = []
    if pair is not None:
        groups += [
            ("The difference", field_pictures(pair, found.unit) + part_pictures(pair, found.unit)),
            (
                "Significance",
                [
                    histogram_picture(pair, of_sources=True),
                    histogram_picture(pair, of_sources=False),
                ],
            ),
        ]
    correlated = [
        *correlation_pictures(correlations, number_of(metrics, "rho_error")),
        power_picture(correlations),
    ]
    groups.append(("Correlation of the noise", correlated))
    if pair is not None:
        levels = [*variance_pictures(pair), level_picture(pair.after, pair.step, found.unit)]
        groups.append(("Variance", levels))
    shown = {name: shown_part(stamp) for name, stamp in found.stamps.items()}
    rest = [psf_picture(shown, depth_change(metrics, measured))]
    if found.filters is not None:
        filters = filters_over_field(found.filters, found.shape)
        rest.append(filters_picture(filters, change_over_field(filters)))
    groups.append(("PSF and filter", rest))
    return [
        Group(title=title, pictures=there)
        for title, pictures in groups
        if (there := [one for one in pictures if one is not None])
    ]


def _correlations(found: _Measured) -> dict[str, Values]:
    """Return the correlation by lag: as measured here, else as the output itself has it."""
    result: dict[str, Values] = {}
    for name in ("before", "after"):
        side = None if found.pair is None else found.pair.sides.get(name)
        correlation = None if side is None else correlation_of_sums(side.statistics.sums)
        if correlation is None and name in found.lags:
            correlation = correlation_of_lags(found.lags[name])
        if correlation is not None:
            result[name] = correlation
    return result
