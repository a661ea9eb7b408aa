"""Pure numerics on arrays: no paths, no FITS, no command line, no state."""
