"""The figure of a kernel."""

import io
import sys

import numpy as np
import pytest
from helpers.workplace import call
from kernels.conftest import DATA

from diffdecor.errors import ConfigError
from diffdecor.kernels.registry import read_kernel
from diffdecor.report.kernel_figure import plot_kernel

FILES = {
    "ficonv": ("ficonv/Df_kernel.list", None),
    "hotpants": ("hotpants/B1_diff.fits.gz", None),
    "stamps": ("native/A1_stampgrid.fits", None),
}


def pixels(png):
    image = pytest.importorskip("matplotlib.image")
    return image.imread(io.BytesIO(png))


@pytest.mark.parametrize("case", FILES)
def test_figures_are_not_blank(case):
    pytest.importorskip("matplotlib")
    kernel, difference = (name and DATA / name for name in FILES[case])
    picture = pixels(plot_kernel(read_kernel(kernel, difference)))
    height, width, _ = picture.shape
    assert (width, height) == (1320, 660)
    red, green, blue = np.moveaxis(picture[..., :3], -1, 0)
    left, right = np.s_[:, : width // 2], np.s_[:, width // 2 :]
    assert ((red - blue)[left] > 0.3).mean() > 0.005  # the cores of the kernels are red
    assert (np.ptp([red, green, blue], axis=0)[right] > 0.2).mean() > 0.1  # the map has colour


def test_the_core_of_a_kernel_is_where_it_should_be():
    """A kernel whose only pixel is to the upper right of its origin."""
    pytest.importorskip("matplotlib")
    kernel = read_kernel(DATA / "native" / "A3_plain_stamp.fits")
    stamp = np.zeros_like(kernel.stamps)
    stamp[0, -3:, -3:] = 1.0
    picture = pixels(plot_kernel(type(kernel)(stamps=stamp, origin=kernel.origin)))
    red = (picture[..., 0] > 0.3) & (picture[..., 1] < 0.1) & (picture[..., 2] < 0.2)
    columns = np.flatnonzero(red[:, :560].any(axis=0))
    rows = np.flatnonzero(red[:, :560].any(axis=1))
    assert columns.max() > 380  # the right column of panels
    assert rows.min() < 120  # the top of the top row


def test_command(tmp_path):
    pytest.importorskip("matplotlib")
    out, kernel = tmp_path / "k.png", str(DATA / "native" / "A3_plain_stamp.fits")
    arguments = ["kernel", "plot", kernel, "-o", str(out)]
    done = call(*arguments)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert out.read_bytes().startswith(b"\x89PNG")
    before = out.stat().st_mtime_ns
    again = call(*arguments)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    assert out.stat().st_mtime_ns == before
    assert call(*arguments, "--overwrite").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["k.png"]


def test_the_kernel_is_never_replaced(tmp_path):
    kernel = tmp_path / "k.list"
    kernel.write_bytes((DATA / "ficonv" / "Df_kernel.list").read_bytes())
    arguments = ["kernel", "plot", str(kernel), "-o", str(kernel), "--overwrite"]
    assert call(*arguments).exit_code == 2
    assert kernel.read_bytes() == (DATA / "ficonv" / "Df_kernel.list").read_bytes()


def test_without_matplotlib(tmp_path, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    kernel = DATA / "native" / "A3_plain_stamp.fits"
    with pytest.raises(ConfigError, match=r"pip install 'diffdecor\[plot\]'"):
        plot_kernel(read_kernel(kernel))
    out = tmp_path / "k.png"
    done = call("kernel", "plot", str(kernel), "-o", str(out))
    assert done.exit_code == 2
    assert "diffdecor[plot]" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_drawn_on_a_screen(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    plot_kernel(read_kernel(DATA / "native" / "A3_plain_stamp.fits"))
    assert "matplotlib.pyplot" not in sys.modules
