"""How ``diffdecor check`` judges noise."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, parsed, terms

_VERDICTS = {
    "white": "There is no significant correlation.",
    "nearly white": "It is significant but small: no coefficient above 0.03, and I differs from 1 "
    "by at most 0.03 because of it (without a PSF that of a usual one).",
    "correlated": "Anything else: a large coefficient, or many small ones that add up, as where "
    "faint sources or an uneven sky are left in.",
}
_TEXT = """
diffdecor check measures whether the noise of an image is white, and whether its variance is right.
It works on a difference of any tool, or any other image; no kernel is needed.

```sh
diffdecor check hotpants_diff.fits --fwhm 2.3
```

```text
hotpants_diff.fits: correlated: max |rho| 0.4740 +- 0.0017 at lag (0, 1),
p < 1e-99, point-source noise I = 1.813 +- 0.008, no variance plane,
variance ripples by 4 % with a period of 37.1 pixels
```

Sources are found and left out, and the local level is removed (planes in blocks of 128 pixels);
what that removes from the correlation is corrected for.

- max |rho| is the largest correlation of two pixels within 5 pixels.
- p is the probability that white noise is correlated as much, at any of the 44 lags up to 5 pixels
  or at all of them together (the smaller of both). It says whether there is correlation, not how
  much: in a million pixels 0.004 is beyond doubt, and of no importance.
- I, the point-source noise (the noise factor of a matched filter), says what the correlation does:
  the fluxes of point sources scatter I times as much as they would with independent pixels of the
  claimed variance (of the measured one if there is no variance plane). What a search calls 5
  sigma is 5/I sigma. It needs a PSF, or --fwhm.
- Claimed and measured variance are compared as mean squares, clipped at 4 sigma, in windows of 256
  pixels; beyond 64 megapixels a sample of the windows is measured.
- Periodic ripples of the variance, such as the moire pattern of resampling, are reported.

The verdict is one of:

{}

Of an output, diffdecor report tells what the run itself found, in the sky pixels that it knew;
check knows the file only, and finds its own, mostly more of them. Where correlation is barely
significant the verdicts may differ.

--max-rho R and --max-factor R set limits: the exit code is 4 if the excess over one of them is not
due to chance (p < 0.01). --json has all numbers, with the chi-square Q of all lags, the worst block
of a grid of 8 x 8, and the strongest periodic ripple.
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    return parsed(_TEXT, terms("verdicts", ("verdict", "meaning"), _VERDICTS))
