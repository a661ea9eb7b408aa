"""What a worker's process does in tests, if it ever comes to it: importing this takes a minute."""

import os
import time
from pathlib import Path

Path(os.environ["DIFFDECOR_TEST_MARK"]).write_text(str(os.getpid()))
time.sleep(60)
