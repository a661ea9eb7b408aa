"""Kernel formats of other packages, which name them as entry points."""

from importlib.metadata import EntryPoint

import numpy as np
import pytest

from diffdecor.errors import KernelError
from diffdecor.kernels import registry
from diffdecor.kernels.model import StampKernel
from diffdecor.kernels.registry import PLUGINS, kernel_formats, read_kernel, register
from diffdecor.kernels.testing import check_reader
from diffdecor.kernels.textfile import TextFile

MODULE = """
import numpy as np
from diffdecor.kernels.model import StampKernel
from diffdecor.kernels.registry import register


@register("{name}", description="from elsewhere (card MYTOOL)")
class Reader:
    @staticmethod
    def identify(hdus):
        return any("MYTOOL" in hdu.header for hdu in hdus)

    @staticmethod
    def read(source, options):
        stamp = source.candidates[0].data.astype(float)
        return StampKernel(
            stamps=stamp[None], origin=(1, 1), convolved=options.convolved,
            name=source.name, format="{name}",
        )
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install modules as plugins: ``installed(name="source code")``."""
    registry.kernel_formats()
    known = registry._registry._formats  # noqa: SLF001
    before = dict(known)
    monkeypatch.syspath_prepend(tmp_path)

    def install(**modules):
        points = []
        for name, code in modules.items():
            module = f"{tmp_path.name}_{name}".replace("-", "_")
            (tmp_path / f"{module}.py").write_text(code)
            points.append(EntryPoint(name, module, PLUGINS))
        monkeypatch.setattr(registry, "entry_points", lambda *, group: points if group else [])
        registry._load_plugins.cache_clear()  # noqa: SLF001

    yield install
    known.clear()
    known.update(before)
    registry._load_plugins.cache_clear()  # noqa: SLF001


def test_a_plugin_reads_its_files(installed, write_image):
    installed(mytool=MODULE.format(name="mytool"))
    assert kernel_formats()["mytool"] == "from elsewhere (card MYTOOL)"
    path = write_image(np.arange(1.0, 10).reshape(3, 3), MYTOOL=True)
    kernel = check_reader(path, "mytool", convolved="science")
    assert kernel.side(0, 0) == "science"
    assert kernel.stamp(0, 0)[0, 1] == 2


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named"),
        ("raise RuntimeError('a\\nb')", "RuntimeError: a b"),
        ("def (", "SyntaxError"),
        (MODULE.format(name="sfft"), "ValueError: there is already a .* format 'sfft'"),
    ],
)
def test_a_plugin_that_fails_is_skipped(installed, caplog, write_image, code, problem):
    installed(bad=code, good=MODULE.format(name="good"))
    assert read_kernel(write_image(np.ones((3, 3)), MYTOOL=True)).format == "good"
    (record,) = [r for r in caplog.records if "skipped" in r.message]
    assert record.levelname == "WARNING"
    assert record.message.startswith("kernel format bad (")
    assert problem.partition(" .* ")[0] in record.message
    assert kernel_formats()["sfft"].startswith("SFFT solution")


def test_two_plugins_of_one_name(installed, caplog):
    installed(a=MODULE.format(name="mytool"), b=MODULE.format(name="mytool"))
    assert "mytool" in kernel_formats()
    assert "already a matching kernel format 'mytool'" in caplog.text


def test_two_plugins_claim_a_file(installed, write_image):
    installed(a=MODULE.format(name="one"), b=MODULE.format(name="two"))
    with pytest.raises(KernelError, match="looks like one and two; name the HDU"):
        read_kernel(write_image(np.ones((3, 3)), MYTOOL=True))


def test_plugins_are_loaded_once(installed, monkeypatch):
    installed(mytool=MODULE.format(name="mytool"))
    kernel_formats()
    monkeypatch.setattr(registry, "entry_points", lambda **_: pytest.fail("asked again"))
    kernel_formats()


def test_a_text_format(installed, tmp_path):
    installed()

    @register("two", description="numbers")
    class Numbers:
        @staticmethod
        def identify(hdus):
            return isinstance(hdus[0], TextFile) and hdus[0].text.startswith("kernel of mytool")

        @staticmethod
        def read(source, _options):
            numbers = np.array([[float(word) for word in source.text.split()[3:]]])
            return StampKernel(stamps=numbers[None], origin=(0, 0), name=source.name, format="two")

    (tmp_path / "k.txt").write_text("kernel of mytool\n1 2 3\n")
    np.testing.assert_array_equal(
        check_reader(tmp_path / "k.txt", "two").stamp(0, 0), [[1.0, 2.0, 3.0]]
    )
    assert Numbers.identify


# --- the helper for tests finds what is wrong


class Wrong(StampKernel):
    """A kernel with a lie in it."""

    def sum(self, x, y):
        return super().sum(x, y) * 1.001


@pytest.mark.parametrize(
    ("kind", "name", "problem"),
    [
        (Wrong, "two", r"sum\(.*\) is not the sum"),
        (StampKernel, "other", "read as 'other'"),
    ],
)
def test_the_helper_finds_mistakes(installed, write_image, kind, name, problem):
    installed()

    @register("two", description="x")
    class Reader:
        @staticmethod
        def identify(hdus):
            return any("MYTOOL" in hdu.header for hdu in hdus)

        @staticmethod
        def read(source, _options):
            return kind(stamps=np.ones((1, 3, 3)), origin=(1, 1), name=source.name, format=name)

    with pytest.raises(AssertionError, match=problem):
        check_reader(write_image(np.ones((3, 3)), MYTOOL=True), "two")
    assert not Reader.identify([])
