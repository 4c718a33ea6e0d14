"""Arrays behind a JSON header, in one file. No pickle: nothing is executed by reading it.

    first line | length of the header, 8 bytes, little-endian | header, JSON | the arrays, one after another

The header says the arrays' shapes and dtypes and the SHA-256 of their bytes.
"""

import hashlib
import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def write(path: str | os.PathLike, magic: bytes, header: dict[str, Any], arrays: Sequence[Any]) -> None:
    """Writes `arrays` behind `header`; the file appears under `path` only when it is whole."""
    leaves = [np.asarray(array) for array in arrays]
    leaves = [leaf.astype(leaf.dtype.newbyteorder("<"), order="C") for leaf in leaves]
    payload = b"".join(leaf.tobytes() for leaf in leaves)
    header = header | {
        "leaves": [{"shape": list(leaf.shape), "dtype": leaf.dtype.name} for leaf in leaves],
        "sha256": hashlib.sha256(payload).hexdigest(),
    }
    encoded = json.dumps(header, indent=1).encode()
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            file.write(magic + struct.pack("<Q", len(encoded)) + encoded + payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read(
    path: str | os.PathLike, magic: bytes, format_version: int, what: str, fix: str, made_by: str
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The header and the arrays that `write` wrote.

    Raises `ValueError` where there is no file, for one that does not begin with `magic`, that is truncated or altered
    (`fix` says what to do then), and that a version above `format_version` wrote.
    """
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder: name the {what} file in it.")
    if not Path(path).is_file():
        raise ValueError(f"{path}: there is no such file.")
    content = Path(path).read_bytes()
    if not content.startswith(magic):
        raise ValueError(f"{path} is not a pdejax {what} file; {made_by} writes one.")
    start = len(magic) + 8
    if len(content) < start:
        raise ValueError(f"{path} is truncated: it ends inside the header. {fix}")
    end = start + struct.unpack("<Q", content[len(magic) : start])[0]
    if len(content) < end:
        raise ValueError(f"{path} is truncated: it ends inside the header. {fix}")
    try:
        header = json.loads(content[start:end])
    except ValueError as error:
        raise ValueError(f"{path} is damaged: its header is not readable. {fix}") from error
    if header["format_version"] > format_version:
        raise ValueError(
            f"{path} has format version {header['format_version']} but this pdejax reads up to {format_version}; "
            "update pdejax."
        )
    payload = content[end:]
    expected = sum(_num_bytes(leaf) for leaf in header["leaves"])
    if len(payload) != expected:
        raise ValueError(f"{path} is truncated: {len(payload)} of {expected} bytes of arrays. {fix}")
    if hashlib.sha256(payload).hexdigest() != header["sha256"]:
        raise ValueError(f"{path} is damaged: its arrays do not match their checksum. {fix}")
    arrays, offset = [], 0
    for leaf in header["leaves"]:
        shape, dtype = tuple(leaf["shape"]), np.dtype(leaf["dtype"])
        values = np.frombuffer(payload, dtype.newbyteorder("<"), int(np.prod(shape)), offset).reshape(shape)
        offset += values.nbytes
        arrays.append(values.astype(dtype))
    return header, arrays


def _num_bytes(leaf: dict[str, Any]) -> int:
    return int(np.prod(leaf["shape"])) * np.dtype(leaf["dtype"]).itemsize
