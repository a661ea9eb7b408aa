"""What the LSST stack (afw) stores in FITS files: archives of objects, and the kernels in them."""
