"""Where data files are looked for."""

import os
from pathlib import Path


def data_root(root: Path | str | None = None) -> Path:
    """Folder of the data files: `root`, else $ADVDPNP_DATA, else advdpnp/ in the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(root or os.environ.get("ADVDPNP_DATA") or cache / "advdpnp").expanduser()
