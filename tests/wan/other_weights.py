"""A model file whose weights are others than it seems."""

import os
from pathlib import Path

import numpy as np

from s2v_core.wan.weights_file import read_table


def spoil(path):
    """Other weights in a file of the same size, header and time of change: whoever reads them gives other pictures."""
    table = read_table((path,))
    begin = Path(path).stat()
    data = bytearray(Path(path).read_bytes())
    size = sum(np.prod(info.shape) * 4 for info in table.tensors.values())
    data[-int(size) :] = bytes(int(size))
    # Not in place: who has read the old ones may have them mapped.
    new = Path(f"{path}.new")
    new.write_bytes(data)
    os.utime(new, ns=(begin.st_atime_ns, begin.st_mtime_ns))
    new.replace(path)
