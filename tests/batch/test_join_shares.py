"""Outputs of several shares of a batch, joined by one of them."""


def test_only_outputs_of_these_options_are_joined(night):
    batch = night(2)
    for number, row in enumerate(batch.rows):
        row.update(joined="all.fits", detector=f"N{number}")
    batch.write()
    batch.ends(0, "--jobs", 1, "--join")
    joined = batch / "all.fits"
    before = joined.read_bytes()
    options = ("--jobs", 1, "--noise-model", "white", "--join", "--shard")
    _, err = batch.ends(75, *options, "1/2")
    assert "1 of 2 outputs are missing, the first is" in err
    assert "1.fits; what is there is of an earlier time" in err
    assert joined.read_bytes() == before
    batch.ends(0, *options, "2/2")
    assert joined.read_bytes() != before
