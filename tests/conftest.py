"""What all tests share."""

import os

# The networks of the tests are tiny, and tests may run side by side: threads would only wait for each other.
# It must be said before torch is imported, which happens when the test files are read.
os.environ.setdefault("OMP_NUM_THREADS", "1")
