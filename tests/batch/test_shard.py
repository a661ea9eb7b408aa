"""Shares of a batch: the same rows whoever asks, each row in just one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffdecor.batch.model import Task
from diffdecor.batch.shard import SHARD, Shard, take
from diffdecor.pipeline.job import Job


def tasks(numbers):
    return [
        Task(
            number=number,
            place=f"line {number + 1}",
            job=Job(difference="d", output=f"{number}.fits"),
            output=f"{number}.fits",
        )
        for number in numbers
    ]


@given(st.sets(st.integers(1, 300)), st.integers(1, 40), st.randoms())
def test_shares_are_disjoint_and_complete(numbers, number, random):
    """Whatever rows are left: which share a row is in depends on nothing but its number."""
    mixed = list(numbers)
    random.shuffle(mixed)
    shares = [
        [task.number for task in take(tasks(mixed), Shard(index, number))]
        for index in range(1, number + 1)
    ]
    assert sorted(row for share in shares for row in share) == sorted(numbers)
    for index, share in enumerate(shares, 1):
        assert all(row % number == index % number for row in share)


def test_shares_are_of_like_size():
    sizes = [len(take(tasks(range(1, 104)), Shard(index, 10))) for index in range(1, 11)]
    assert max(sizes) - min(sizes) == 1
    assert take(tasks(range(1, 3)), Shard(5, 7)) == []  # more shares than rows


@pytest.mark.parametrize(("text", "shard"), [("1/1", (1, 1)), (" 3 / 20 ", (3, 20))])
def test_what_is_a_share(text, shard):
    assert SHARD.parse(text) == shard
    assert str(SHARD.parse(text)) == text.replace(" ", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0/3",
        "4/3",
        "1/0",
        "0/0",
        "-1/3",
        "1.5/3",
        "1",
        "1/2/3",
        "a/b",
        "\N{ARABIC-INDIC DIGIT ONE}/3",
        "1/" + "9" * 5000,
        None,
        3,
    ],
)
def test_what_is_not(text):
    with pytest.raises(ValueError, match=r"^expected I/N, .*such as 3/20$"):
        SHARD.parse(text)
