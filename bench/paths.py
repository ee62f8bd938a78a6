"""Where the sources and the built things lie."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent


def target_folder() -> pathlib.Path:
    """Where cargo puts what it builds."""
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").resolve()
