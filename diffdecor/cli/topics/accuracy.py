"""How good the results are, on real and simulated images."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, parsed, table

_REAL = (
    ("JWST NIRCam, SFFT, template convolved", "0.464/1.91/0.79", "0.364/1.57/0.97",
     "0.009/0.99/1.01", "0.003"),
    ("JWST NIRCam, SFFT, science image convolved", "0.454/1.86/0.83", "0.372/1.63/0.97",
     "0.006/1.00/1.01", "0.003"),
    ("JWST NIRCam, HOTPANTS", "0.466/1.95/0.78", "0.364/1.57/0.97", "0.009/0.99/1.00",
     "0.003"),
    ("the cut-out of sample_data/nircam", "0.460/1.91/0.81", "0.362/1.58/0.97",
     "0.009/1.01/0.99", "0.004"),
    ("simulation, HOTPANTS: sample_data/hotpants", "0.244/2.31/0.87", "0.029/1.04/0.91",
     "0.031/1.00/0.97", "0.018"),
)  # fmt: skip
_TEXT = """
## Real differences

{}

- raw: as the tool made it.
- white: filtered as if the noise of the images had been white before the subtraction, as LSST's
  code does (--noise-model white).
- measured: filtered with the correlation that the difference itself shows (--noise-model measured),
  which is there because templates are warped and coadded, and images drizzled.

Each entry has three numbers: the largest correlation of two pixels within 5 pixels (max |rho|; 0
is best); the factor I by which fluxes of point sources scatter more than their errors say (1 is
best); and the claimed over the measured variance (1 is best). The error is that of max |rho|. Only
pixels without light of sources count, at least 44 pixels from the border (in the simulation 20).
tests/benchmarks/real_data.py makes this table.

## What the tests show

- LSST's reference outputs: the image agrees to 2e-6 of its standard deviation with the compact
  filter, to 1e-9 with the same FFT shape; noise levels agree to rounding.
- Monte Carlo: no correlation at any lag up to 10 pixels, and the pixel variance within 1 per cent
  of the claimed one, for noise ratios of 0.01 to 100.
- Kernel and noise that vary strongly, with steps: white everywhere to the statistical error, where
  a single filter leaves 14 times as much correlation.
- Injected sources: fluxes to 0.5 per cent, positions to 0.01 pixel.
- HOTPANTS kernels equal those of the tool to 1.5e-7 of the peak.
- Kernels that are found from the images, of differences of HOTPANTS, SFFT, LSST, ficonv and of
  NIRCam, equal those of their files to 3e-5 of the peak, most to 1e-6 (that of lsst.images, whose
  variation is not a polynomial, to 1.2e-4), and the results to 1e-5 of the noise; simulated ones of
  11 to 41 pixels, orders up to 3, both sides, with masks and holes, too. Of more than 100 triples
  that do not belong together none gets a kernel.
- Compared with a single transform in double precision: 3e-6 of the noise away from stars, 1e-7 of
  the peak near stars of 1e7 counts. A filter interpolated between nodes compared with the filter of
  each pixel: 2e-4 of the noise, and at most 5e-5 of a jump at the borders of tiles.
- The output is the same, bit for bit, for any number of --threads.
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    titles = {
        "difference": "difference",
        "raw": "raw",
        "white": "white",
        "measured": "measured",
        "error": "error",
    }
    return parsed(_TEXT, table("real_differences", titles, *_REAL))
