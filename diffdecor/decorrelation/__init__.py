"""The method: exposures in, exposure out. No files, no command line."""
