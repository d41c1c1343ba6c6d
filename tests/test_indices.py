"""Positions of test images: every way to name them, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from advdpnp.indices import (
    first_or_chosen,
    images_text,
    indices_text,
    of_the_first,
    of_whole,
    parse_indices,
    shard_text,
    short_indices,
    whole_text,
)


@pytest.mark.parametrize(
    ("chosen", "positions"),
    [
        ("7", (7,)),
        ("0-3,9", (0, 1, 2, 3, 9)),
        (" 9 , 2 - 3", (2, 3, 9)),
        ("1-10 step 4", (1, 5, 9)),
        ([3, 1], (1, 3)),
        (range(2), (0, 1)),
        (np.array([4, 2], dtype=np.uint8), (2, 4)),
        (torch.tensor([5]), (5,)),
    ],
)
def test_positions_are_ascending_whichever_way_they_are_named(chosen: Any, positions: tuple[int, ...]) -> None:
    assert parse_indices(chosen) == positions
    assert parse_indices(indices_text(positions)) == positions


def test_files_hold_lines_json_or_an_array(tmp_path: Path) -> None:
    lines, listed, array = tmp_path / "a.txt", tmp_path / "b.json", tmp_path / "c.npy"
    lines.write_text("12\n3\n\n5-6, 9\n")
    listed.write_text(json.dumps([9, 3, 12, 5, 6]))
    np.save(array, np.array([12, 9, 6, 5, 3]))
    for path in (lines, str(listed), array):
        assert parse_indices(path) == (3, 5, 6, 9, 12)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ("5-2", "ascends"),
        ("9" * 5000, "indices are below"),
        ("0-9999999,0-9999999,0-9999999", "overlapping ranges"),
        ("", "a file, or numbers and ranges"),
        ("-1", "a file, or numbers and ranges"),
        ("nowhere.txt", "got 'nowhere.txt'"),
        ("0-2,2", "image 2 is named again"),
        ("0-999999999999", "indices are below 10,000,000"),
        ([], "name no image"),
        ([-1], "count test images from 0; got -1"),
        ([1.0], "whole numbers in one list; got 1.0"),
        ([[1]], "whole numbers in one list"),
        (np.array([True, False]), "not a mask"),
        (5, "a list of positions; got 5"),
        ({"a": 1}, "a list of positions"),
    ],
)
def test_what_names_no_images_is_refused_in_one_line(chosen: Any, said: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_indices(chosen)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"1\ntwo\n", "line 2 of"),
        ("a.txt", b"1.5\n", "line 1 of"),
        ("a.txt", b"\n", "name no image"),
        ("a.txt", b"\xff\xfe\x00", "no text"),
        ("a.json", b"[1, 2", "begins as a JSON list"),
        ("a.json", b"[1, true]", "not a mask"),
        ("a.npy", b"no array", "no array of numbers of numpy"),
    ],
)
def test_a_file_that_is_none_of_these_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError) as refused:
        parse_indices(tmp_path / name)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_shards_name_their_whole() -> None:
    assert shard_text("0-2,9", 2, 4) == "0-2,9 part 2 of 4"
    assert {of_whole(shard_text("0-2,9", part, 2)) for part in (1, 2)} == {"0-2,9"}
    assert whole_text("0-2,9 part 2 of 4", 4) == "0-2,9" and whole_text("1-199 step 4", 200) == "0-199"
    assert of_whole("1-199 step 4") == of_whole("2-199 step 4")


def test_long_texts_are_cut_and_still_told_apart() -> None:
    one, other = indices_text(range(0, 1000, 7)), indices_text([*range(0, 994, 7), 997])
    assert one[:60] == other[:60] and short_indices(one) != short_indices(other)
    assert len(short_indices(one)) <= 60 and short_indices("0-99,2303") == "0-99,2303"


def test_the_first_images_are_told_from_chosen_ones() -> None:
    assert of_the_first("0-99", 100) and of_the_first("0-0", 1) and of_the_first("0", 1)
    assert not of_the_first("1-100", 100) and not of_the_first("0-98,100", 100)


def test_images_are_named_in_words() -> None:
    assert images_text("0-999", 1000) == "1,000 test images" and images_text("0", 1) == "1 test image"
    assert images_text("3,7", 2) == first_or_chosen("3,7", 2) == "2 test images (3,7)"
    assert first_or_chosen("36", 1) == "1 test image (36)" and first_or_chosen("0-9", 10) == "first 10 test images"
