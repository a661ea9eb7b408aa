"""Images that are sums of others, or were convolved themselves."""

from __future__ import annotations

from diffdecor.cli.topics.blocks import Block, parsed
from diffdecor.pipeline.stacks import MOST_MEMBERS

_TEXT = f"""
If an image was convolved before the subtraction (to homogenise PSFs, or because both images were
convolved: cross-convolution), --science-kernel and --template-kernel name the kernel of that
convolution. It counts besides the matching kernel, or instead of it.

If an image is the weighted sum of others, each with noise and kernel of its own, --science-stack
and --template-stack name a TOML file that lists them. Paths are relative to this file; there may be
up to {MOST_MEMBERS} images.

```toml
[[member]]
noise = "visit1_sigma.fits"   # or: variance = 4.0
noise-kind = "sigma"
mask = "visit1_mask.fits"     # optional
kernel = "visit1_kernel.fits" # optional
weight = 0.5                  # default: 1

[[member]]
variance = 4.0
weight = 0.5
```

```sh
diffdecor run sci.fits coadd.fits diff.fits -o out.fits \\
    --template-stack coadd.toml
```
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    return parsed(_TEXT)
