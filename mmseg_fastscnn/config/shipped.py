"""Where the configs are that come with this project."""

from pathlib import Path

import mmseg_fastscnn

PACKAGE = Path(mmseg_fastscnn.__file__).resolve().parent
INSIDE = PACKAGE / 'configs'  # of an installed package; in a checkout they stand beside
SHIPPED = INSIDE if INSIDE.is_dir() else PACKAGE.parent / 'configs'
CONFIGS = SHIPPED / 'fastscnn'  # those to be run; the others are their bases
