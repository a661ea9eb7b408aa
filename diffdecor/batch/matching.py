"""Files that belong together, by what the stars in patterns of their names stand for.

A star stands for any part of the name of a file or folder, as short as can be from the left on.
Nothing else is special; ``[EXT]`` at the end is the HDU of every file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from diffdecor.errors import ConfigError, InputError

#: What the stars of a pattern stand for, from left to right.
Key = tuple[str, ...]

#: The role of the files that there is a row for.
DIFFERENCE = "difference"
_STAR = "*"
_EXTENSION = re.compile(r"(?P<file>.+?)(?P<extension>\[[^\[\]/]+\])?", re.DOTALL)


@dataclass(frozen=True)
class Match:
    """Files that belong together, by their roles."""

    #: That of the difference.
    key: Key
    files: Mapping[str, str]


@dataclass(frozen=True)
class Lonely:
    """A file that has no partner of some roles."""

    role: str
    file: str
    missing: Sequence[str]
    #: What these would be called, where that is known.
    expected: Sequence[str]


@dataclass(frozen=True)
class Matched:
    """What the files of some patterns make."""

    matches: Sequence[Match]
    lonely: Sequence[Lonely]
    #: The roles that there are no files of.
    empty: Sequence[str]


def match(patterns: Mapping[str, str]) -> Matched:
    """Match files by the patterns of their names, by role; there is one of the difference.

    Of a pattern without stars the one file belongs to every difference. One with fewer stars than
    that of the difference is matched by those stars that give it any partners, if only one choice
    does. ConfigError if there are too many stars, or several choices; InputError for a file without
    stars that is not there.
    """
    found = {role: files_of(pattern) for role, pattern in patterns.items()}
    differences = found[DIFFERENCE]
    places = {
        role: _places(role, patterns, differences, files)
        for role, files in found.items()
        if role != DIFFERENCE
    }
    matches, lonely = [], []
    used: dict[str, set[Key]] = {role: set() for role in places}
    for key, difference in sorted(differences.items()):
        keys = {role: tuple(key[n] for n in chosen) for role, chosen in places.items()}
        for role, own in keys.items():
            used[role].add(own)
        files = {role: found[role].get(own) for role, own in keys.items()}
        missing = [role for role, file in files.items() if file is None]
        if missing:
            expected = [_filled(patterns[role], keys[role]) for role in missing]
            lonely.append(Lonely(DIFFERENCE, difference, missing, expected))
            continue
        there = {role: file for role, file in files.items() if file is not None}
        matches.append(Match(key, {DIFFERENCE: difference, **there}))
    for role, keys_used in used.items():
        unused = sorted(set(found[role]) - keys_used)
        for key in unused:
            is_known = len(key) == patterns[DIFFERENCE].count(_STAR)
            expected = [_filled(patterns[DIFFERENCE], key)] if is_known else []
            lonely.append(Lonely(role, found[role][key], [DIFFERENCE], expected))
    return Matched(matches, lonely, [role for role, files in found.items() if not files])


def _filled(pattern: str, key: Key) -> str:
    """Return the name that a pattern describes, if its stars stand for these."""
    start, *rest = pattern.split(_STAR)
    return start + "".join(part + text for part, text in zip(key, rest, strict=True))


def files_of(pattern: str) -> dict[Key, str]:
    """Return the files whose names a pattern describes, by what its stars stand for."""
    if _STAR * 2 in pattern:
        msg = (
            f"{pattern}: ** means nothing here: a star stands for a part of one name; give one for "
            "every level of folders, as in night/*/*.fits"
        )
        raise ConfigError(msg)
    parts = _EXTENSION.fullmatch(pattern)
    assert parts is not None  # noqa: S101  it matches every text that is not empty
    file, extension = parts["file"], parts["extension"] or ""
    if _STAR not in pattern:
        if not (os.path.lexists(pattern) or os.path.lexists(file)):
            msg = f"{pattern}: no such file{meaning_of(pattern)}"
            raise InputError(msg)
        if Path(file).is_dir():
            msg = f"{pattern}: is a folder; name its files, as in '{file.rstrip('/')}/*.fits'"
            raise InputError(msg)
        return {(): pattern}
    if _STAR in extension:
        msg = f"{pattern}: a star stands for a part of the name of a file, not of an HDU"
        raise ConfigError(msg)
    start = "/" if file.startswith("/") else ""
    names = [name for name in file.split("/") if name]
    return {key: path + extension for key, path in _walk(start, names, ())}


def meaning_of(pattern: str) -> str:
    """Return what to say of a pattern that describes no file, if it has wildcards of shells."""
    return "; only stars stand for anything, not ? [] {}" if re.search(r"[?{\[]", pattern) else ""


def _walk(folder: str, names: Sequence[str], key: Key) -> Iterator[tuple[Key, str]]:
    """Give the files in a folder that names with stars, of folders and a file, describe."""
    name, rest = names[0], names[1:]
    if _STAR not in name:
        if rest:
            yield from _walk(f"{folder}{name}/", rest, key)
        elif os.path.lexists(folder + name):
            yield key, folder + name
        return
    is_meant = re.compile("(.*?)".join(map(re.escape, name.split(_STAR))), re.DOTALL).fullmatch
    for entry in _entries(folder):
        found = is_meant(entry.name)
        if found is None or (entry.name.startswith(".") and not name.startswith(".")):
            continue
        if rest:
            yield from _walk(f"{folder}{entry.name}/", rest, key + found.groups())
        elif not entry.is_dir():
            yield key + found.groups(), folder + entry.name


def _entries(folder: str) -> list[os.DirEntry[str]]:
    """Return what is in a folder; nothing if it is none."""
    try:
        with os.scandir(folder or ".") as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        msg = f"{folder}: cannot be searched: {error.strerror}"
        raise InputError(msg) from None


def _places(
    role: str, patterns: Mapping[str, str], differences: Mapping[Key, str], files: Mapping[Key, str]
) -> Sequence[int]:
    """Return which stars of the difference the stars of another pattern are."""
    stars, most = (patterns[name].count(_STAR) for name in (role, DIFFERENCE))
    if stars in {0, most}:
        return range(stars)
    about = f"--{role.replace('_', '-')} {patterns[role]} and --difference {patterns[DIFFERENCE]}"
    if stars > most:
        msg = (
            f"{about}: the difference has fewer stars, and there is one row for every difference; "
            "give it as many"
        )
        raise ConfigError(msg)
    choices = [
        chosen
        for chosen in combinations(range(most), stars)
        if any(tuple(key[n] for n in chosen) in files for key in differences)
    ]
    if len(choices) > 1:
        msg = f"{about}: it is not clear which stars are the same; give both as many"
        raise ConfigError(msg)
    return choices[0] if choices else range(stars)


def plain_name(file: str) -> str:
    """Return the name of a FITS file without folder, HDU and endings."""
    found = _EXTENSION.fullmatch(file)
    name = Path(found["file"] if found else file).name
    for endings in (r"\.(fz|gz|bz2|xz|Z|zip)", r"\.(fits?|fts)"):
        name = re.sub(rf"(?<=.){endings}$", "", name, flags=re.IGNORECASE)
    return name


def output_names(matches: Sequence[Match]) -> list[str]:
    """Return a name for the output of each match, without ending, all of them different.

    Where differences have one name, in several folders, their keys are added to it.
    """
    names = [plain_name(one.files[DIFFERENCE]) for one in matches]
    twice = _repeated(names)
    names = [
        "_".join([name, *one.key]) if name.lower() in twice else name
        for name, one in zip(names, matches, strict=True)
    ]
    twice = _repeated(names)
    # Keys like ("a_b", "c") and ("a", "b_c").
    return [
        f"{name}_{number}" if name.lower() in twice else name
        for number, name in enumerate(names, 1)
    ]


def _repeated(names: Sequence[str]) -> set[str]:
    """Return the names that there are several of, in lower case, for some systems know no other."""
    seen: set[str] = set()
    twice: set[str] = set()
    for name in map(str.lower, names):
        (twice if name in seen else seen).add(name)
    return twice
