"""Files in the idx format."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import torch

from robustcert.errors import SamplesError
from robustcert.train import idx
from robustcert.train.idx import idx_folder, read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def written(array: np.ndarray, code: int) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    big = array.astype(array.dtype.newbyteorder(">"))
    return bytes([0, 0, code, array.ndim]) + sizes + big.tobytes()


def images(count: int = 3) -> np.ndarray:
    return np.arange(count * 4 * 5, dtype=np.uint8).reshape(count, 4, 5)


def fill(folder, joint="-", squeeze=bytes, ending=""):
    for part, count in (("train", 3), ("t10k", 2)):
        for kind, array in (
            (f"images{joint}idx3", images(count)),
            (f"labels{joint}idx1", np.arange(count, dtype=np.uint8)),
        ):
            name = f"{part}-{kind}-ubyte{ending}"
            (folder / name).write_bytes(squeeze(written(array, 0x08)))


@pytest.mark.parametrize("kind", CODES)
def test_numbers_of_each_type_come_back_as_they_were_written(kind, tmp_path):
    array = np.array([[0, 1, 100], [3, 4, 127]]).astype(kind)
    (tmp_path / "plain").write_bytes(written(array, CODES[kind]))
    found = read_idx(tmp_path / "plain")
    assert torch.equal(found, torch.from_numpy(array))


def test_a_gzipped_file_is_read_whatever_its_name(tmp_path):
    (tmp_path / "file").write_bytes(gzip.compress(written(images(), 0x08)))
    assert torch.equal(read_idx(tmp_path / "file"), torch.from_numpy(images()))


@pytest.mark.parametrize(
    ("joint", "squeeze", "ending"),
    [("-", bytes, ""), (".", bytes, ""), ("-", gzip.compress, ".gz")],
)
def test_a_folder_gives_images_in_the_unit_box_and_labels(
    joint, squeeze, ending, tmp_path
):
    fill(tmp_path, joint, squeeze, ending)
    found = idx_folder(tmp_path)
    assert found.training.inputs.shape == (3, 1, 4, 5)
    assert found.test.inputs.shape == (2, 1, 4, 5)
    assert torch.equal(
        found.training.inputs[:, 0], torch.from_numpy(images()).float() / 255.0
    )
    assert found.training.targets.tolist() == [0, 1, 2]
    assert found.training.targets.dtype == torch.int64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no idx file"),
        (b"\x00\x00\x08", "no idx file"),
        (b"\x01\x00\x08\x01\x00\x00\x00\x01\x00", "no idx file"),
        (b"\x00\x00\x07\x01\x00\x00\x00\x01\x00", "no idx file"),
        (b"\x00\x00\x08\x00", "no idx file"),
        (b"\x00\x00\x08\x09" + b"\x00\x00\x00\x01" * 9 + b"\x00", "no idx file"),
        (b"\x00\x00\x08\x02\x00\x00\x00\x01", "ends within its header"),
        (written(images(), 0x08)[:-1], "declares 60 bytes and holds 59"),
        (written(images(), 0x08) + b"\x00", "declares 60 bytes and holds more"),
        (b"\x1f\x8bno gzip", "cannot be read"),
        (gzip.compress(written(images(), 0x08), mtime=0)[:-9], "cannot be read"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[:8].hex(),
)
def test_a_file_that_is_not_what_its_header_says_is_refused(content, message, tmp_path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(SamplesError, match=message) as caught:
        read_idx(tmp_path / "file")
    assert caught.value.remedy


def test_sizes_that_would_fill_the_memory_are_refused_before_they_are_read(tmp_path):
    header = b"\x00\x00\x0e\x04" + b"\x7f\xff\xff\xff" * 4
    (tmp_path / "file").write_bytes(gzip.compress(header + bytes(10_000)))
    with pytest.raises(SamplesError, match="declares"):
        read_idx(tmp_path / "file")


def test_a_bomb_of_zeros_is_read_no_further_than_it_declares(tmp_path, monkeypatch):
    monkeypatch.setattr(idx, "LARGEST", 100)
    bomb = gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x64" + bytes(10**7))
    (tmp_path / "file").write_bytes(bomb)
    with pytest.raises(SamplesError, match="holds more"):
        read_idx(tmp_path / "file")


def test_a_missing_file_is_named(tmp_path):
    fill(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(SamplesError, match="t10k-labels-idx1-ubyte"):
        idx_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("train-labels-idx1-ubyte", np.zeros(4, dtype=np.uint8)),
        ("train-images-idx3-ubyte", np.zeros((3, 20), dtype=np.uint8)),
    ],
)
def test_labels_that_do_not_fit_the_images_are_refused(name, array, tmp_path):
    fill(tmp_path)
    (tmp_path / name).write_bytes(written(array, 0x08))
    with pytest.raises(SamplesError, match="train-"):
        idx_folder(tmp_path)
