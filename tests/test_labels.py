"""Class names: from a file, from ImageNet's table, and what cannot name a class."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuseport.export.labels import BadLabels, read_labels


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "labels.txt"


def test_a_name_a_line(file: Path) -> None:
    file.write_text("cat\n  dog \ncrème brûlée\n\n", encoding="utf-8")
    assert read_labels(file, 3) == ("cat", "dog", "crème brûlée")


def test_windows_line_ends_and_byte_order_mark(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbfcat\r\ndog\r\n")
    assert read_labels(file, 2) == ("cat", "dog")


def test_imagenet_has_1000_names_that_differ() -> None:
    labels = read_labels("imagenet-1k", 1000)
    assert len(set(labels)) == 1000
    assert (labels[0], labels[1], labels[207], labels[999]) == (
        "tench",
        "goldfish",
        "golden retriever",
        "toilet tissue",
    )
    assert [name for name in labels if name.startswith("crane")] == ["crane (n02012849)", "crane (n03126707)"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cat\n", "the model has 2 classes, but .* names 1; give one name a line"),
        (b"", "the model has 2 classes, but .* names 0"),
        (b"cat\n\ndog\n", "names 3"),
        (b"\ndog\n", "line 1 is empty"),
        (b"cat\ncat\n", "'cat' names 2 classes; names must differ"),
        (b"\xff\xfe\x00", "not UTF-8; give a UTF-8 file, or imagenet-1k"),
    ],
)
def test_what_cannot_name_two_classes_is_said_in_one_line(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(BadLabels, match=message) as caught:
        read_labels(file, 2)
    assert "\n" not in str(caught.value)


def test_a_missing_file(file: Path) -> None:
    with pytest.raises(BadLabels, match=r"cannot read the labels .*: No such file or directory"):
        read_labels(file, 2)


def test_imagenet_names_do_not_fit_ten_classes() -> None:
    with pytest.raises(BadLabels, match="the model has 10 classes, but imagenet-1k names 1000"):
        read_labels("imagenet-1k", 10)
