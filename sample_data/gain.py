"""Print what decorrelation gained, from the cards of the results: python gain.py RESULT..."""

import sys

from astropy.io import fits

# What it is, its cards before and after, and the card of its error. Rows of
# cards that the results do not have are left out.
ROWS = (
    ("max |rho| within 5 pixels", "DDRHO0", "DDRHO1", "DDRHOERR"),
    ("matched-filter noise factor I", "DDFACT0", "DDFACT1", "DDFACTER"),
    ("neighbour correlation, x", "DDCORX0", "DDCORX1", "DDCORERR"),
    ("neighbour correlation, y", "DDCORY0", "DDCORY1", "DDCORERR"),
)

for path in sys.argv[1:]:
    header = fits.getheader(path)
    print(f"\n{path:<30}  {'before':>9}  {'after':>9}  {'error':>9}")
    for name, *cards in ROWS:
        if all(card in header for card in cards):
            print(f"{name:<30}  " + "  ".join(f"{header[card]:9.4f}" for card in cards))
