"""The hash by which a file is known. Nothing of ours is imported: all may import it."""

import hashlib
from pathlib import Path


def file_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
