"""Apps that make trouble while they start. What they find in FOLDER decides."""

import os
import time

from dirtyapp import FOLDER
from gunicorn.dirty.app import DirtyApp


class Fussy(DirtyApp):
    """Refuses to start while there is a file "refuse"."""

    def init(self):
        if os.path.exists(os.path.join(FOLDER, "refuse")):
            raise RuntimeError("refused")


class Slow(DirtyApp):
    """Starts when there is a file "go"."""

    def init(self):
        while not os.path.exists(os.path.join(FOLDER, "go")):
            time.sleep(0.005)

    def identity(self, value):
        return value
