"""The page in a real browser, where there is one: nothing complains, nothing is fetched, all fits.

The page has a script of the test's own added, which clicks, measures, and writes down what it saw.
"""

import html
import json
import re
import shutil
import struct
import subprocess

import numpy as np
import pytest
from astropy.io import fits
from helpers.workplace import call

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no chromium")

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", "--v=0"),
    "--virtual-time-budget=5000",
)
LOOK = """
<script>
window.addEventListener("load", () => {
  const found = {};
  const rows = () => [...document.querySelectorAll("#outputs tbody tr")];
  const column = (n) => rows().map((row) => row.cells[n].textContent);
  const names = () => column(0);
  const style = getComputedStyle(document.body);
  found.colours = [style.color, style.backgroundColor];
  found.scroll = [document.documentElement.scrollWidth, innerWidth];
  found.images = [...document.images]
    .map((one) => [one.complete, one.naturalWidth, one.clientWidth, one.clientHeight]);
  found.fetched = performance.getEntriesByType("resource").map((one) => one.name.slice(0, 30));
  found.font = Math.min(...[...document.querySelectorAll("p, td, th, li, figcaption")]
    .map((one) => parseFloat(getComputedStyle(one).fontSize)));
  if (document.getElementById("outputs")) {
    const buttons = document.querySelectorAll("#outputs thead button");
    found.first = names();
    const started = performance.now();
    buttons[3].click();
    found.rising = column(3);
    found.sorted = buttons[3].parentElement.getAttribute("aria-sort");
    buttons[3].click();
    found.falling = column(3);
    buttons[0].click();
    found.named = names();
    found.milliseconds = performance.now() - started;
    const filter = document.getElementById("filter");
    filter.value = "out04";
    filter.dispatchEvent(new Event("input"));
    found.shown = rows().filter((row) => !row.hidden).length;
    found.said = document.getElementById("shown").textContent;
  }
  const report = document.createElement("pre");
  report.id = "seen";
  report.textContent = JSON.stringify(found);
  document.body.append(report);
});
</script>
"""


def browse(page, tmp_path, *flags):
    """Return what chromium says, and the page as it then is."""
    done = subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return done.stdout, complaints


def looked_at(page, tmp_path, width, *flags):
    """Return what the test's own script saw on the page, in a frame of a width."""
    text = page.read_text(encoding="utf-8")
    # Its policy lets no script run but its own.
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    copy = tmp_path / "copy.html"
    copy.write_text(text.replace("</body>", f"{LOOK}</body>"), encoding="utf-8")
    # A window has a least width; a frame does not.
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<!DOCTYPE html><iframe src="{copy.name}" style="width:{width}px;height:900px;border:0">'
        "</iframe><pre id=all></pre><script>const wait = setInterval(() => {"
        "const seen = document.querySelector('iframe').contentDocument.getElementById('seen');"
        "if (seen) { clearInterval(wait); document.getElementById('all').textContent ="
        " seen.textContent; } }, 50);</script>"
    )
    size = f"--window-size={max(width, 500)},1000"
    dom, complaints = browse(
        frame, tmp_path, "--dump-dom", "--allow-file-access-from-files", size, *flags
    )
    assert complaints == []
    return json.loads(html.unescape(re.search(r'<pre id="all">(.*?)</pre>', dom, re.DOTALL)[1]))


def luminance(colour):
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Return the page of one output, and of several, of which one has a PSF with a long name."""
    folder = tmp_path_factory.mktemp("pages")
    noise = np.random.default_rng(4).normal(size=(5, 90, 100))
    noise = noise + 0.4 * (np.roll(noise, 1, 1) + np.roll(noise, 1, 2))
    y, x = np.mgrid[-6:7, -6:7]
    fits.writeto(folder / "psf.fits", np.exp(-(x**2 + y**2) / 6))
    outputs = []
    for number, pixels in enumerate(noise):
        fits.writeto(folder / f"d{number}.fits", pixels.astype(np.float32))
        output = folder / f"out{number:02d}{'_long' * 12 * (number == 3)}.fits"
        done = call(
            *("run", folder / f"d{number}.fits", "--difference-psf", folder / "psf.fits"),
            *("-o", output, "-q"),
        )
        assert done.exit_code == 0, done.stderr
        outputs.append(output)
    one, several = folder / "report.html", folder / "night.html"
    assert call("report", outputs[0], "-o", one, "-q").exit_code == 0
    assert call("report", *outputs, "-o", several, "-q", "--pictures", "1").exit_code == 0
    return {"one": one, "several": several}


@pytest.mark.parametrize("which", ["one", "several"])
def test_nothing_complains(pages, tmp_path, which):
    """Not even of its own policy, by which nothing can be fetched."""
    dom, complaints = browse(pages[which], tmp_path, "--dump-dom")
    assert complaints == []
    assert "</html>" in dom


@pytest.mark.parametrize(("which", "width"), [("one", 1280), ("one", 420), ("several", 420)])
def test_it_fits_and_fetches_nothing(pages, tmp_path, which, width):
    found = looked_at(pages[which], tmp_path, width)
    inside, window = found["scroll"]
    assert window == width
    assert inside <= window  # only tables scroll sideways, within themselves
    assert found["images"]
    for complete, natural, across, down in found["images"]:
        assert complete
        assert natural >= across > 180
        assert down > 100
    assert all(name.startswith("data:") for name in found["fetched"])
    assert found["font"] >= 12


@pytest.mark.parametrize(
    ("flags", "dark"), [((), False), (("--blink-settings=preferredColorScheme=0",), True)]
)
def test_dark_and_light(pages, tmp_path, flags, dark):
    text, back = map(luminance, looked_at(pages["several"], tmp_path, 900, *flags)["colours"])
    assert abs(text - back) > 180
    assert (back < text) == dark


def test_the_table_sorts(pages, tmp_path):
    found = looked_at(pages["several"], tmp_path, 1280)
    rising = [float(text) for text in found["rising"]]
    assert rising == sorted(rising)
    assert len(set(rising)) > 3
    assert [float(text) for text in found["falling"]] == rising[::-1]
    assert found["sorted"] == "ascending"
    assert found["named"] == sorted(found["named"])
    assert (found["shown"], found["said"]) == (1, "1 of 5")


def test_a_screenshot_is_not_blank(pages, tmp_path):
    shot = tmp_path / "shot.png"
    browse(pages["one"], tmp_path, f"--screenshot={shot}", "--window-size=1280,2000")
    png = shot.read_bytes()
    assert struct.unpack(">II", png[16:24]) == (1280, 2000)
    assert len(png) > 100_000
