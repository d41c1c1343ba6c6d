import re

import pytest

from advdpnp.data import SPECS
from advdpnp.data.download import sources
from advdpnp.data.sets import files

ARCHIVES = [*(archive for entry in SPECS.values() for archive in entry.archives), *sources.CIFAR10_C]


@pytest.mark.parametrize("name", SPECS)
def test_every_set_has_archives_or_says_where_its_images_are_from(name: str) -> None:
    assert bool(files(name)) == bool(SPECS[name].archives)
    assert SPECS[name].archives or SPECS[name].origin


def test_a_corruption_is_read_from_its_own_file_and_the_labels() -> None:
    assert [file.path for file, _ in files("cifar10-c/fog/3")] == ["CIFAR-10-C/fog.npy", "CIFAR-10-C/labels.npy"]
    assert files("cifar10-c/fog") == files("cifar10-c/fog/3")
    assert len(files("cifar10-c")) == 20


def test_sums_are_md5_sums_and_no_two_files_are_the_same() -> None:
    sums = [archive.md5 for archive in ARCHIVES]
    assert all(re.fullmatch(r"[0-9a-f]{32}", value) for value in sums) and len(set(sums)) == len(sums)
    read = [file for archive in ARCHIVES for file in archive.files]
    assert all(bool(file.md5) != bool(file.layout) for file in read)
    assert len({file.path for file in read}) == len(read)


def test_addresses_are_folders_that_end_with_a_slash() -> None:
    assert all(re.fullmatch(r"https?://[^?]+/", address) for archive in ARCHIVES for address in archive.addresses)
    assert all(archive.addresses for archive in ARCHIVES)


def test_the_archive_of_corruptions_has_room_for_just_its_files() -> None:
    (archive,) = sources.CIFAR10_C
    # tar: each file is padded to 512 bytes after a header of 512; the folder has a header; all is padded to 10,240.
    padded = sum(512 + -(-(file.size - 48) // 512) * 512 for file in archive.files) + 512
    assert archive.size == -(-(padded + 1024) // 10_240) * 10_240


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="Did you mean svhn"):
        files("shvn")
