"""FITS in, FITS out."""
