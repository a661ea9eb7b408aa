"""The same from Python, on arrays."""

from __future__ import annotations

import inspect
from importlib import import_module

from diffdecor.cli.topics.blocks import Block, Row, Table, parsed

_TEXT = """
```python
from diffdecor import DecorrelationConfig, decorrelate
from diffdecor import read_exposure, read_kernel

science, template, difference = (
    read_exposure(f"{name}.fits", role=name)
    for name in ("science", "template", "difference")
)
kernel = read_kernel("kernel.fits", "difference.fits")
config = DecorrelationConfig(variance="full")
result = decorrelate(science, template, difference, kernel, config=config)

white = result.exposure
print(white.image.shape, white.variance.mean(), white.mask_planes.bits)
print(result.metrics.rho_before, result.metrics.rho_after)
```

Arrays do as well as files, and so do CCDData and NDData of astropy:

```python
import numpy as np
from diffdecor import Exposure, StampKernel
from diffdecor import check, decorrelate, write_result

stamp = np.outer([1, 2, 1], [1, 2, 1]) / 16
s, t = np.random.default_rng(1).normal(size=(2, 200, 200))
matched = sum(
    np.roll(t, (j - 1, i - 1), axis=(0, 1)) * weight
    for (j, i), weight in np.ndenumerate(stamp)
)
result = decorrelate(
    Exposure(image=s, variance=1.0),
    Exposure(image=t, variance=1.0),
    Exposure(image=s - matched),
    StampKernel(stamps=stamp, convolved="template"),
)
print(check(result.exposure))
ccd = result.exposure.to_ccddata(unit="adu")  # or back: from_ccddata
write_result(result, "white.fits")
```

decorrelate takes and gives arrays, and changes none of its inputs. result.metrics has the numbers
that the cards of an output record (diffdecor help cards). The fields of
DecorrelationConfig are the options of the command line with _ for -. Of a difference alone it is
decorrelate(None, None, difference, None).

fit_kernel(science, template, difference) finds the kernel from the images, as --kernel fit does;
decorrelate takes "fit" in place of a kernel, too.

Errors are subclasses of DiffdecorError in diffdecor.errors, and of the exception of Python that
fits: ValueError for arguments and files that cannot be used, OSError for outputs.

## Public names

{}

help(diffdecor.decorrelate) and so on have the details.
"""


def blocks() -> tuple[Block, ...]:
    """Return the blocks of the topic."""
    package = import_module("diffdecor")
    rows = []
    for name in package.__all__:
        about = _first_line(getattr(package, name))
        rows.append(Row((name, about), {"name": name, "about": about}))
    return parsed(_TEXT, Table("names", (), tuple(rows)))


def _first_line(value: object) -> str:
    """Return the first line of the docstring of a class or function; of others their type."""
    if inspect.isclass(value) or inspect.isroutine(value):
        return (inspect.getdoc(value) or "").partition("\n")[0].replace("`", "")
    return f"A {type(value).__name__}."
