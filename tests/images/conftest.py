from helpers.fits_fixtures import log_as_it_is_without_commands, mef, pixels, real

__all__ = ["log_as_it_is_without_commands", "mef", "pixels", "real"]
