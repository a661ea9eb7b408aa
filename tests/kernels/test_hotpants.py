"""Kernels of HOTPANTS: real files against the tool's own stamps, and files that are damaged."""

import logging

import numpy as np
import pytest
from astropy.io import fits
from helpers.closeness import assert_same

from diffdecor.errors import InputError, KernelError, NoKernelError
from diffdecor.kernels.registry import read_kernel

CASES = ["A1", "A2", "A3", "B1", "B2", "B3", "C1", "C2", "M1", "S1"]


def read(hotpants, case):
    path, expected, _ = hotpants
    kernel_file = expected[case]["kernel_file"].removesuffix(".fits")
    return read_kernel(path(f"{kernel_file}.fits"), path(f"{case}_diff.fits"))


def region_stamp(kernel, number, x, y):
    """Return the kernel of one region, also where another region wins."""
    weights = kernel.regions[number].weights(kernel.terms, x, y)
    return np.tensordot(weights, kernel.basis, axes=1)


def same(kernel, other):
    """Say whether two kernels of one solution lie on the same regions."""
    assert len(kernel.regions) == len(other.regions)
    for one, two in zip(kernel.regions, other.regions, strict=True):
        assert (one.box, one.side, one.blocks) == (two.box, two.side, two.blocks)
        assert (one.x0, one.xs, one.y0, one.ys) == (two.x0, two.xs, two.y0, two.ys)
        assert_same(one.background, two.background)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("what", "tolerance"), [("stamps", 1e-9), ("tool_stamps", 3e-7)], ids=["recipe", "tool"]
)
def test_stamps(hotpants, case, what, tolerance):
    kernel, expected = read(hotpants, case), hotpants[2]
    prefix = f"{case}_tool" if what == "tool_stamps" else case
    rows = zip(
        expected[f"{prefix}_xy0"],
        expected[f"{prefix}_region"],
        expected[f"{case}_{what}"],
        strict=True,
    )
    for (x, y), number, stamp in rows:
        error = np.abs(region_stamp(kernel, number, x, y) - stamp).max()
        assert error <= tolerance * np.abs(stamp).max()


@pytest.mark.parametrize("case", CASES)
def test_regions(hotpants, case):
    kernel, expected = read(hotpants, case), hotpants[1][case]
    facts = [fact for fact in expected["regions"] if fact]
    assert len(kernel.regions) == len(facts)
    assert kernel.image_shape == tuple(expected["shape_yx"])
    for region, fact in zip(kernel.regions, facts, strict=True):
        box = region.box
        xmin, xmax, ymin, ymax = fact["buffered0"]
        assert [box.xmin, box.xmax, box.ymin, box.ymax] == fact["region0"]
        assert (region.x0 - region.xs, region.x0 + region.xs) == (xmin, xmax + 1)
        assert (region.y0 - region.ys, region.y0 + region.ys) == (ymin, ymax + 1)
        assert region.side == {"TEMPLATE": "template", "IMAGE": "science"}[fact["convolved"]]
        assert region.science_scale == pytest.approx(fact["diff_scale"], rel=1e-14)
        assert region.template_scale == region.science_scale
        total = region.weights(kernel.terms, 30, 40) @ kernel.basis.sum(axis=(1, 2))
        assert total == pytest.approx(fact["kernel_sum"], rel=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_background(hotpants, case):
    kernel, expected = read(hotpants, case), hotpants[2]
    rows = (expected[f"{case}_{what}"] for what in ("xy0", "region", "bg"))
    for (x, y), number, background in zip(*rows, strict=True):
        region = kernel.regions[number]
        sign = -1 if region.side == "template" else 1
        value = region.background_at(kernel.background_terms, x, y)
        assert value == pytest.approx(sign * region.science_scale * background, rel=1e-12)


def test_the_later_region_wins_where_they_overlap(hotpants):
    kernel, expected = read(hotpants, "B1"), hotpants[2]
    assert_same(kernel.stamp(219, 149), expected["B1_stamps"][15])  # corner of four regions
    assert kernel.scales(219, 149) == (kernel.regions[3].science_scale,) * 2
    assert kernel.sum(219, 20) == pytest.approx(hotpants[1]["B1"]["regions"][1]["kernel_sum"])
    mixed = read(hotpants, "M1")
    assert [mixed.side(x, 7) for x in (238, 239, 240)] == ["science", "template", "template"]


def test_no_kernel_in_a_skipped_region(hotpants):
    kernel = read(hotpants, "S1")
    assert kernel.stamp(219, 100).shape == (21, 21)
    with pytest.raises(KernelError, match=r"S1_diff.*no kernel at .*\(220, 100\)"):
        kernel.stamp(220, 100)


@pytest.mark.parametrize("case", ["A2", "B2", "C2"])
def test_kerfile_is_followed(hotpants, case):
    path, _, _ = hotpants
    kernel = read_kernel(path(f"{case}_diff.fits"))
    assert kernel.name.endswith(f"{case}_kernel.fits")
    same(kernel, read(hotpants, case))


@pytest.mark.parametrize("case", ["A1", "M1"])
def test_extension_may_be_named(hotpants, case):
    path, _, _ = hotpants
    same(read_kernel(f"{path(f'{case}_diff.fits')}[1]"), read(hotpants, case))


# --- the command line, whole and in pieces


def command(text):
    def edit(hdus):
        if text is None:
            del hdus[0].header["DIFFCMD"]
        else:
            old = hdus[0].header["DIFFCMD"]
            hdus[0].header["DIFFCMD"] = text(old) if callable(text) else text

    return edit


@pytest.mark.parametrize("case", ["A1", "B1", "B3", "C1", "M1", "S1"])
def test_command_without_blanks(hotpants, damaged, case):
    path = damaged(f"{case}_diff", command(lambda old: old.replace(" ", "")))
    same(read_kernel(path), read(hotpants, case))


def test_block_size_without_blanks(hotpants, damaged, native_data):
    difference = damaged("B2_diff", command(lambda old: old.replace(" ", "")))
    kernel_file = native_data.parent / "hotpants" / "B2_kernel.fits"
    same(read_kernel(kernel_file, difference), read(hotpants, "B2"))


@pytest.mark.parametrize("text", [None, "-hki", "B1_noise.fits"])
def test_command_missing(hotpants, damaged, caplog, text):
    path, right = damaged("B1_diff", command(text)), read(hotpants, "B1")
    with caplog.at_level(logging.WARNING):
        wrong = read_kernel(path)
    assert "no HOTPANTS command line (DIFFCMD); assuming its defaults" in caplog.text
    assert "-nsx 10, -nsy 10, -rss 15" in caplog.text
    assert wrong.regions[0].xs == (219 + (2 * 15 + 17) // 2 + 1) / 2
    assert wrong.regions[0].xs != right.regions[0].xs
    same(read_kernel(path, nsx=10, nsy=10, rss=10), right)


@pytest.mark.parametrize("case", ["A1", "A2", "A3", "B3", "C2"])
def test_one_region_needs_no_command(hotpants, damaged, caplog, native_data, case):
    path = native_data.parent / "hotpants" / f"{case}_kernel.fits"
    if not path.exists():
        path = damaged(f"{case}_diff", command(None))
    same(read_kernel(path), read(hotpants, case))
    assert not caplog.records


def test_kernel_file_alone(hotpants, native_data):
    path = native_data.parent / "hotpants" / "B2_kernel.fits"
    alone, right = read_kernel(path, nsx=5, nsy=6, rss=12), read(hotpants, "B2")
    assert alone.image_shape is None
    for x, y in [(0, 0), (100, 200), (219, 299), (439, 10)]:
        assert_same(alone.stamp(x, y), right.stamp(x, y))
        assert alone.background(x, y) == pytest.approx(right.background(x, y), rel=1e-12)


def test_options_do_not_beat_the_command(hotpants, damaged, caplog):
    path = damaged("B1_diff", lambda hdus: hdus)
    same(read_kernel(path, nsx=3, rss=10), read(hotpants, "B1"))
    assert "has its own nsx; ignored yours" in caplog.text


def test_grid_is_recovered_with_a_region_skipped(hotpants, damaged):
    same(read_kernel(damaged("S1_diff", command(None))), read(hotpants, "S1"))


@pytest.mark.parametrize("flag", [" -rf regions.txt", " -rkw REGNS 1"])
def test_regions_of_a_list(damaged, flag):
    one = read_kernel(
        damaged("B3_diff", command(lambda old: old.replace(" -gd 30 420 20 280", flag)))
    )
    region = one.regions[0]
    assert (region.x0 - region.xs, region.x0 + region.xs) == (20, 430)
    edit = command(lambda old: old.replace(" -nrx 2 -nry 2", flag))
    several = read_kernel(damaged("B1_diff", edit, out="several.fits"))
    # F = min(440 // 10, 300 // 10) - 17 = 13 < 2 * 10 + 1, hence 2 * 10 + 17, half of it 18
    assert several.regions[0].xs == (220 + 18) / 2


def test_good_data_limits_clip_the_buffer(damaged):
    kernel = read_kernel(damaged("B1_diff", command(lambda old: old + " -gd 10 400 5 290")))
    lows = {(region.x0 - region.xs, region.y0 - region.ys) for region in kernel.regions}
    highs = {(region.x0 + region.xs, region.y0 + region.ys) for region in kernel.regions}
    assert min(lows) == (10, 5)
    assert max(highs) == (400, 290)


@pytest.mark.parametrize("case", ["A1", "C1"])
def test_pedestals(hotpants, damaged, case):
    kernel, right = (
        read_kernel(damaged(f"{case}_diff", command(lambda old: old + " -ip 100.5 -tp -20"))),
        read(hotpants, case),
    )
    f, total = right.scales(5, 5)[0], right.sum(5, 5)
    shift = {
        "A1": f * (-100.5 + total * -20),  # D = f (S - ip - K * (T - tp) - B)
        "C1": f * (-total * 100.5 + -20),  # D = f (K * (S - ip) + B - (T - tp))
    }
    assert kernel.background(5, 5) == pytest.approx(right.background(5, 5) + shift[case])


# --- other places for the table and its cards


def test_compressed_difference(hotpants, damaged):
    def pack(hdus):
        image = fits.CompImageHDU(hdus[0].data, hdus[0].header)
        return fits.HDUList([fits.PrimaryHDU(), image, *hdus[1:]])

    packed = read_kernel(damaged("B1_diff", pack, out="packed.fits.fz"))
    same(packed, read(hotpants, "B1"))
    assert packed.image_shape == (300, 440)


def zero_table(hdus):
    """Make the odd file of -hki with -oki and layers: keywords with a layer, table of zeros."""
    layer = fits.ImageHDU(np.zeros((4, 4), "f4"))
    layer.header.extend(c for c in hdus[0].header.cards if "GAUSS" in c.keyword)
    table = fits.BinTableHDU.from_columns([fits.Column("Region0", "D", array=np.zeros(151))])
    return fits.HDUList([hdus[0], layer, table])


@pytest.mark.parametrize("kerfile", ["A2_kernel.fits", "out/A2_kernel.fits"])
def test_table_of_zeros_leads_to_kerfile(hotpants, damaged, tmp_path, kerfile):
    def edit(hdus):
        hdus[0].header["KERFILE"] = kerfile
        return zero_table(hdus)

    path, _, _ = hotpants
    (tmp_path / "A2_kernel.fits").write_bytes(path("A2_kernel.fits").read_bytes())
    same(read_kernel(damaged("A2_diff", edit)), read(hotpants, "A2"))


def test_kerfile_missing(damaged):
    with pytest.raises(
        NoKernelError, match=r"damaged\.fits: the kernel is in KERFILE = 'A2_kernel"
    ):
        read_kernel(damaged("A2_diff", lambda hdus: hdus))


def test_kerfile_without_a_table(damaged, tmp_path):
    fits.PrimaryHDU().writeto(tmp_path / "A2_kernel.fits")
    with pytest.raises(KernelError, match=r"A2_kernel\.fits: KERFILE of .*without Region columns"):
        read_kernel(damaged("A2_diff", lambda hdus: hdus))


def test_kerfile_that_is_broken(damaged, tmp_path):
    (tmp_path / "A2_kernel.fits").write_text("oops")
    with pytest.raises(InputError, match=r"A2_kernel\.fits: not a readable FITS file"):
        read_kernel(damaged("A2_diff", lambda hdus: hdus))


def test_the_side_may_be_given(damaged):
    def edit(hdus):
        del hdus[0].header["CONVOL00"]

    path = damaged("A1_diff", edit)
    kernel = read_kernel(path, convolved="science")
    assert kernel.side(0, 0) == "science"
    assert kernel.scales(0, 0) == (1.0, 1.0)  # PHOTNORM is t
    with pytest.raises(KernelError, match="CONVOL00"):
        read_kernel(path)


def test_both_scales_stand_in_for_photnorm(damaged):
    def edit(hdus):
        del hdus[0].header["PHOTNORM"]

    kernel = read_kernel(damaged("A1_diff", edit), science_scale=1.1, template_scale=1.2)
    assert kernel.scales(0, 0) == (1.1, 1.2)


# --- files that are damaged


def set_card(extension, keyword, value):
    def edit(hdus):
        if value is None:
            del hdus[extension].header[keyword]
        else:
            hdus[extension].header[keyword] = value

    return edit


def new_column(name, change):
    def edit(hdus):
        column = fits.Column(name, "D", array=change(hdus[1].data["Region0"].copy()))
        table = fits.BinTableHDU.from_columns([column], header=hdus[1].header)
        return fits.HDUList([hdus[0], table])

    return edit


def put(row, value):
    def change(column):
        column[row] = value
        return column

    return change


def drop_regions(hdus):
    del hdus[0].header["REGION00"]


HURT = {
    "no Region columns": (new_column("Coefficients", put(1, 1.0)), "without a table of Region"),
    "zeros and no KERFILE": (new_column("Region0", np.zeros_like), "without KERFILE"),
    "rows missing": (new_column("Region0", lambda c: c[:-1]), "297 rows in column Region0.*298"),
    "rows too many": (set_card(1, "CKORDER", 1), "298 rows in column Region0.*151"),
    "NaN": (new_column("Region0", put(7, np.nan)), "NaN or infinite"),
    "NaN background": (new_column("Region0", put(292, np.nan)), "NaN or infinite"),
    "infinite sum": (new_column("Region0", put(1, np.inf)), "region 0 is NaN or infinite"),
    "zero sum": (new_column("Region0", put(1, 0.0)), "region 0 sums to zero"),
    "no CKORDER": (set_card(1, "CKORDER", None), "CKORDER is missing"),
    "no BGORDER": (set_card(1, "BGORDER", None), "BGORDER is missing"),
    "no NGAUSS": (set_card(1, "NGAUSS", None), "NGAUSS is missing"),
    "no DGAUSS": (set_card(1, "DGAUSS2", None), "DGAUSS2 is missing"),
    "order below zero": (set_card(1, "CKORDER", -1), "CKORDER = -1 is impossible"),
    "text for a number": (set_card(1, "DGAUSS1", "six"), "DGAUSS1 = 'six' is impossible"),
    "even width": (set_card(1, "FWKERN", 20), "FWKERN = 20 is even"),
    "sigma of zero": (set_card(1, "SGAUSS3", 0.0), "SGAUSS3 = 0.0 .*-pca"),
    "no sigma": (set_card(1, "SGAUSS1", None), "SGAUSS1 = None .*-pca"),
    "-pca": (command(lambda old: old + " -pca 3 a.fits b.fits c.fits"), "made with -pca"),
    "-pca glued": (
        command(lambda old: (old + " -pca 3 a.fits b.fits c.fits").replace(" ", "")),
        "made with -pca",
    ),
    "bad REGION": (
        set_card(0, "REGION00", "1:360,1:360"),
        "REGION00 = '1:360,1:360' is not a region",
    ),
    "REGION from 0": (set_card(0, "REGION00", "[0:359,0:359]"), "is not a region"),
    "REGION reversed": (set_card(0, "REGION00", "[360:1,1:360]"), "is not a region"),
    "no REGION": (drop_regions, "no REGION cards; give the difference"),
    "unknown side": (set_card(0, "CONVOL00", "BOTH"), "CONVOL00 = 'BOTH' is not a side"),
    "unknown PHOTNORM": (set_card(0, "PHOTNORM", "x"), "PHOTNORM = 'x'"),
    "no PHOTNORM": (set_card(0, "PHOTNORM", None), "PHOTNORM = None.*give the difference"),
}


@pytest.mark.parametrize("case", HURT)
def test_damaged_files(damaged, case):
    edit, problem = HURT[case]
    with pytest.raises(KernelError, match=rf"damaged\.fits: .*{problem}"):
        read_kernel(damaged("A1_diff", edit))


def test_a_width_of_one_pixel_has_no_basis(native_data, tmp_path):
    path = tmp_path / "B1_diff.fits"
    with fits.open(native_data.parent / "hotpants" / "B1_diff.fits.gz") as hdus:
        hdus[-1].header["FWKERN"] = 1
        hdus.writeto(path, output_verify="ignore")
    with pytest.raises(KernelError, match=r"B1_diff\.fits"):
        read_kernel(path)
