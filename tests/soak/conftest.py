"""The way to import the soak's own modules."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
