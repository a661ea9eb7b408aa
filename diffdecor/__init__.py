"""diffdecor: white noise, true variance and true PSF for astronomical difference images."""

from __future__ import annotations

from importlib import import_module

from diffdecor._version import __version__ as __version__

# Not that of `typing`: an interrupt while that is imported would end in a traceback, for the
# command line has no handler yet.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from diffdecor.api import check, fit_kernel, verify, write_result
    from diffdecor.config import DecorrelationConfig
    from diffdecor.decorrelation.decorrelate import Result, decorrelate
    from diffdecor.decorrelation.judgement import Judgement
    from diffdecor.decorrelation.kernel_fit import KernelFit
    from diffdecor.decorrelation.metrics import Metrics
    from diffdecor.decorrelation.subtraction import Member
    from diffdecor.decorrelation.verification import Verdict
    from diffdecor.images.model import Exposure, MaskPlanes
    from diffdecor.images.read import read_exposure
    from diffdecor.kernels.model import StampKernel
    from diffdecor.kernels.registry import read_kernel
    from diffdecor.psfs.model import StampPsf
    from diffdecor.psfs.registry import read_psf

__all__ = [
    "DecorrelationConfig",
    "Exposure",
    "Judgement",
    "KernelFit",
    "MaskPlanes",
    "Member",
    "Metrics",
    "Result",
    "StampKernel",
    "StampPsf",
    "Verdict",
    "check",
    "decorrelate",
    "fit_kernel",
    "read_exposure",
    "read_kernel",
    "read_psf",
    "verify",
    "write_result",
]

# Public names are imported when they are first asked for: `diffdecor --help` needs none of them.
_HOMES = {
    "DecorrelationConfig": "diffdecor.config",
    "Exposure": "diffdecor.images.model",
    "Judgement": "diffdecor.decorrelation.judgement",
    "KernelFit": "diffdecor.decorrelation.kernel_fit",
    "MaskPlanes": "diffdecor.images.model",
    "Member": "diffdecor.decorrelation.subtraction",
    "Metrics": "diffdecor.decorrelation.metrics",
    "Result": "diffdecor.decorrelation.decorrelate",
    "StampKernel": "diffdecor.kernels.model",
    "StampPsf": "diffdecor.psfs.model",
    "Verdict": "diffdecor.decorrelation.verification",
    "check": "diffdecor.api",
    "decorrelate": "diffdecor.decorrelation.decorrelate",
    "fit_kernel": "diffdecor.api",
    "read_exposure": "diffdecor.images.read",
    "read_kernel": "diffdecor.kernels.registry",
    "read_psf": "diffdecor.psfs.registry",
    "verify": "diffdecor.api",
    "write_result": "diffdecor.api",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
