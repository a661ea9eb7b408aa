"""Batches that are killed, or their processes, at any moment: in the end nothing is lost."""

import os
import random
import signal
import time

import pytest
from helpers.nights import content, identity, kill_all, workers_of
from helpers.processes import is_gone, wait_until

KILLS = int(os.environ.get("DIFFDECOR_KILLS", "6"))


class Watched:
    """The outputs of a batch as they appear: whole, and never made again."""

    def __init__(self, night, undisturbed):
        self.night, self.undisturbed = night, undisturbed
        self.seen = {}

    def look(self):
        """Look at the outputs that are new, and see that the others are the same."""
        for output in self.night.there():
            known = self.seen.setdefault(output.name, identity(output))
            assert known == identity(output), f"{output} was made again"
            if output.name not in self.checked:
                assert content(output) == self.undisturbed[output.name]
                self.checked.add(output.name)

    @property
    def checked(self):
        return self.__dict__.setdefault("_checked", set())

    def is_complete(self):
        """Check what is left in the end."""
        self.look()
        assert len(self.seen) == len(self.night.outputs)
        assert self.night.hidden() == []
        self.night.is_true()
        assert set(self.night.statuses().values()) == {"done"}
        assert max(self.night.works().values()) == 1


def test_batches_killed_at_random_moments_lose_nothing(night, undisturbed):
    rng = random.Random(14)  # noqa: S311
    night = night()
    watched = Watched(night, undisturbed)
    begun, killed = time.monotonic(), 0
    usual = 1.0
    for number in range(KILLS):
        running = night.start("--jobs", 2)
        if number % 3 == 0:  # as it starts
            time.sleep(rng.uniform(0.0, usual))
        else:
            more = len(night.there()) + number % 3
            wait_until(lambda: len(night.there()) >= more or running.poll() is not None)
            usual = time.monotonic() - begun
            time.sleep(rng.uniform(0.0, 0.3) * usual)
        killed += running.poll() is None
        kill_all(running)
        watched.look()
        begun = time.monotonic()
    assert killed > KILLS / 2
    assert night.ends(0, "--jobs", 2) == ("", "")
    watched.is_complete()
    assert night.ends(0) == ("", "")
    watched.is_complete()
