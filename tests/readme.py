"""The generated part of the README, its table of exit codes: `make docs` writes it."""

from pathlib import Path

from diffdecor.cli import EXIT_CODES

README = Path(__file__).parents[1] / "README.md"
START, END = "<!-- generated: exit-codes -->\n", "<!-- end: exit-codes -->"


def generated(text):
    """Return a README with its table of exit codes written anew."""
    rows = ["| code | meaning |", "| --: | --- |"]
    rows += [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    head, start, rest = text.partition(START)
    _, end, tail = rest.partition(END)
    assert start, "README.md has no mark where the table of exit codes starts"
    assert end, "README.md has no mark where it ends"
    return head + start + "\n".join(rows) + "\n" + end + tail


if __name__ == "__main__":
    README.write_text(generated(README.read_text(encoding="utf-8")), encoding="utf-8")
