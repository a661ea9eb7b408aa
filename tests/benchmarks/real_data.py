"""Judge raw, white and measured noise on real differences; print the README's Markdown table.

``DIFFDECOR_REFERENCE=/path/to/reference python tests/benchmarks/real_data.py``; without the full
sets it has the samples only.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers import real_data
from helpers.real_data import whiteness

NAMES = {
    "sfft_ref": "JWST NIRCam, SFFT, template convolved",
    "sfft_sci": "JWST NIRCam, SFFT, science image convolved",
    "hotpants": "JWST NIRCam, HOTPANTS",
}


def cases():
    """Give every difference with its name."""
    reference = os.environ.get("DIFFDECOR_REFERENCE")
    if reference:
        for name, kernel in real_data.NIRCAM.items():
            folder = Path(reference) / "real-nircam"
            yield NAMES[name], real_data.nircam(folder, f"{name}_diff.fits", kernel)
    yield "the cut-out of `sample_data/nircam`", real_data.nircam_sample()
    yield "simulation, HOTPANTS: `sample_data/hotpants`", real_data.hotpants_sample()


def main():
    rows = ["difference", "raw", "white", "measured", "error"], ["---"] * 5
    for row in rows:
        print(f"| {' | '.join(row)} |")  # noqa: T201
    for name, case in cases():
        found = [whiteness(case.raw, case.sky)]
        found += [
            whiteness(case.result(model).exposure, case.sky) for model in ("white", "measured")
        ]
        cells = [f"{one.rho:.3f}, {one.factor:.2f}, {one.ratio:.2f}" for one in found]
        row = name, *cells, f"{found[-1].error:.3f}"
        print(f"| {' | '.join(row)} |", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
