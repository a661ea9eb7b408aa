"""What an exposure is, and every kind of file that it is read from or written to."""
