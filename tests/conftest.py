"""What all tests share: how hypothesis looks for examples."""

from hypothesis import settings

# How long an example takes says more about the machine than about the code. The examples are the
# same in every run: a test that passes here passes elsewhere. `make fuzz` looks for new ones.
settings.register_profile(
    "diffdecor", deadline=None, derandomize=True, database=None, print_blob=True
)
settings.load_profile("diffdecor")
