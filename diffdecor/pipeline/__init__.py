"""One job: files in, one file out."""
