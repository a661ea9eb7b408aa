from helpers.fits_fixtures import mef, pixels, real

__all__ = ["mef", "pixels", "real"]
