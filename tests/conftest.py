"""What tests of every room share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def reference():
    """Folder with the full reference sets."""
    folder = os.environ.get("DIFFDECOR_REFERENCE")
    if not folder:
        pytest.skip("DIFFDECOR_REFERENCE is not set")
    return Path(folder)
