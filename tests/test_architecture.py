"""The house stands: imports go down only, modules stay small, start-up stays light."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import diffdecor

PACKAGE = Path(diffdecor.__file__).parent
CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"
MODULES = sorted(PACKAGE.rglob("*.py"))

# From the roof down: a room imports only from floors below its own.
FLOORS = (
    ("__main__",),
    ("cli",),
    ("batch",),
    ("api", "report"),
    ("pipeline",),
    ("decorrelation",),
    ("images",),
    ("kernels", "psfs"),
    ("fits", "config"),
    ("core",),
    ("errors", "process", "signals", "_version"),
    ("words",),
)
# The method knows what images, kernels and PSFs are, not how their files are read; and what the
# header of an exposure says of its kernel.
KNOWN_TO_THE_METHOD = {
    *("images.arrays", "images.model", "kernels.model", "psfs.model", "kernels.misreadings"),
    "kernels.areas",
}
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    """Rooms of diffdecor and top-level packages that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [node.module]
        for name in names:
            yield name.split(".")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path):
    room = room_of(path)
    if room == "__init__":
        return
    for parts in imported(path):
        if parts[0] != "diffdecor" or len(parts) == 1 or parts[1] == room:
            continue
        assert FLOOR_OF[parts[1]] > FLOOR_OF[room], f"{room} imports {parts[1]}"


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "decorrelation").rglob("*.py")), ids=lambda p: p.stem
)
def test_the_method_knows_models_only(path):
    of_files = {"images", "kernels", "psfs", "fits"}
    modules = {".".join(parts[1:3]) for parts in imported(path) if of_files & set(parts[1:2])}
    assert modules <= KNOWN_TO_THE_METHOD


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_keep_to_their_trade(path):
    packages = {parts[0] for parts in imported(path)}
    room = room_of(path)
    if room == "core":
        assert packages <= {"numpy", "scipy", "diffdecor", "__future__"} | sys.stdlib_module_names
    if room != "cli":
        assert "click" not in packages
    assert len(path.read_text().splitlines()) <= 400


def test_every_room_has_a_floor():
    assert {room_of(path) for path in MODULES} - {"__init__"} == set(FLOOR_OF)


def test_every_room_is_described():
    """CONTRIBUTING.md says what belongs where; the version is the only room without a word."""
    text = CONTRIBUTING.read_text(encoding="utf-8")
    section = re.search(
        r"^## How it works inside\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE
    )
    assert section, "CONTRIBUTING.md has no section 'How it works inside'"
    rooms = {f"{room}/" if (PACKAGE / room).is_dir() else f"{room}.py" for room in FLOOR_OF} - {
        "_version.py"
    }
    named = {room for room in rooms if re.search(rf"(?<!\w){re.escape(room)}", section[1])}
    assert named == rooms


def test_modules_that_contributors_are_sent_to_exist():
    text = CONTRIBUTING.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z_]+/)*[a-z_]+\.py)`", text)) - {
        "diffdecor/images/surveys/mysurvey.py"
    }
    assert len(named) > 20
    root = CONTRIBUTING.parent
    there = {str(path.relative_to(root)) for path in (*MODULES, *root.glob("tests/**/*.py"))}
    missing = [name for name in named if not any(f"/{path}".endswith(f"/{name}") for path in there)]
    assert not missing


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["run", "--no-such-option"],
        ["help"],
        ["help", "options"],
        ["help", "output"],
        ["help", "cron"],
        ["help", "gain"],
        ["help", "optoins"],
    ],
)
def test_help_and_usage_errors_load_nothing_heavy(arguments):
    code = (
        "import sys\n"
        "from diffdecor.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'scipy', 'astropy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
