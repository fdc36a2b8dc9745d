"""Kept maps: what is read is what was computed, or it counts as absent."""

import errno
import multiprocessing
import os
import shutil
import time
from collections import namedtuple

import numpy as np
import pytest
import torch

from aal_plugin.core.teacher import kept_maps
from aal_plugin.core.teacher.kept_maps import KeptMaps
from aal_plugin.core.teacher.kept_teacher import KeptTeacher, kept_shapes

SHAPES = [(3, 4, 6), (5, 2, 2)]
VIEWS = 12


def kept(folder, **changes):
    given = dict(views=VIEWS, shapes=SHAPES, key=dict(teacher="a", pipeline="crop"))
    return KeptMaps(folder, **dict(given, **changes))


def maps_of(views, seed=0):
    """Random maps of several sizes; a view's maps depend on the view alone."""
    levels = []
    for level, shape in enumerate(SHAPES):
        numbers = np.stack(
            [np.random.default_rng((seed, view, level)).normal(size=shape) for view in views]
        )
        levels.append(torch.from_numpy(numbers * 10.0**level).float())
    return levels


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_a_map_comes_back_within_half_a_step_of_its_own_range(tmp_path, bits):
    maps = maps_of(range(4))
    maps[0][1, 2] = 7.25  # a constant map
    maps[1][2] = 0.0  # dead channels
    store = kept(tmp_path, bits=bits)
    store.write([3, 0, 11, 5], store.packed(maps))
    other = KeptMaps.existing(tmp_path)
    assert other.entry == 4 + 8 * 8 + (3 * 24 + 5 * 4) * bits // 8
    again = other.unpacked(np.stack(other.read([3, 0, 11, 5])))
    for given, got in zip(maps, again):
        given, got = given.double().numpy(), got.double().numpy()
        for one, other in zip(given.reshape(-1, *given.shape[2:]), got.reshape(-1, *got.shape[2:])):
            half = (one.max() - one.min()) / (2**bits - 1) / 2
            assert np.abs(one - other).max() <= half * (1 + 1e-3) + 1e-6 * np.abs(one).max()
    assert torch.equal(again[0][1, 2], torch.full((4, 6), 7.25))
    assert not again[1][2].any()


def test_what_is_absent_or_damaged_is_not_read(tmp_path):
    store = kept(tmp_path)
    assert kept(tmp_path).read([0, 1]) == [None, None]
    store.write([0, 2, 3], store.packed(maps_of([0, 2, 3])))
    with open(tmp_path / "maps.bin", "r+b") as file:
        file.seek(2 * store.entry + store.entry // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 4]))
        file.truncate(4 * store.entry - 1)
    found = kept(tmp_path).read(range(5))
    assert [entry is not None for entry in found] == [True, False, False, False, False]
    assert not store.complete()
    store.write(range(VIEWS), store.packed(maps_of(range(VIEWS))))
    assert store.complete()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(key=dict(teacher="b", pipeline="crop")), "another teacher: 'a', this run has 'b'"),
        (dict(key=dict(teacher="a", pipeline="flip")), "another pipeline: 'crop'.* 'flip'"),
        (dict(views=24), "another views: 12, this run has 24"),
        (dict(shapes=SHAPES[:1]), "another shapes"),
        (dict(bits=4), "another bits: 8, this run has 4"),
    ],
)
def test_maps_of_another_kind_are_rejected_by_name(tmp_path, changes, words):
    kept(tmp_path)
    with pytest.raises(ValueError, match=f"kept_maps='.*' holds maps of {words}"):
        kept(tmp_path, **changes)
    kept(tmp_path)


def test_a_disk_that_is_too_small_is_reported_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(9, 8, 1))
    with pytest.raises(
        OSError, match="kept_maps=.* needs .* GB more for 12 views, but the disk has"
    ):
        kept(tmp_path / "maps")
    assert not list((tmp_path / "maps").iterdir())


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="kept_maps='.*/file/maps': "):
        kept(tmp_path / "file" / "maps")


def test_a_disk_that_fills_up_is_named_and_the_rest_of_an_entry_counts_as_absent(
    tmp_path, monkeypatch
):
    store, write = kept(tmp_path), os.pwrite
    entries = store.packed(maps_of([0, 1]))
    monkeypatch.setattr(os, "pwrite", lambda file, data, place: write(file, data[:50], place))
    with pytest.raises(OSError, match="kept_maps=.*No space left") as error:
        store.write([0, 1], entries)
    assert error.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert store.read([0, 1]) == [None, None]
    store.write([0], entries[:1])  # room again
    assert (store.read([0])[0] == entries[0]).all()


def test_a_folder_that_may_only_be_read_serves_what_it_holds(tmp_path, monkeypatch):
    first, opened = kept(tmp_path), os.open
    entries = first.packed(maps_of([0]))
    first.write([0], entries)

    def read_only(path, flags, *mode, **where):
        if flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
            raise OSError(errno.EROFS, "read-only")
        return opened(path, flags, *mode, **where)

    monkeypatch.setattr(os, "open", read_only)
    store = kept(tmp_path)
    assert (store.read([0])[0] == entries[0]).all()
    with pytest.raises(OSError, match="kept_maps='.*Read-only file system"):
        store.write([1], entries)


def test_a_second_run_that_starts_at_the_same_moment_sees_the_key_of_the_first(
    tmp_path, monkeypatch
):
    kept(tmp_path)
    keys = [None]  # not there yet, when the second one looks
    real = kept_maps.read_key
    monkeypatch.setattr(kept_maps, "read_key", lambda folder: keys.pop() if keys else real(folder))
    with pytest.raises(ValueError, match="another teacher: 'a', this run has 'b'"):
        kept(tmp_path, key=dict(teacher="b", pipeline="crop"))


def test_maps_whose_key_was_deleted_are_not_read_as_another_teachers(tmp_path):
    store = kept(tmp_path)
    store.write([0], store.packed(maps_of([0])))
    (tmp_path / "key.json").unlink()
    assert kept(tmp_path, key=dict(teacher="b", pipeline="crop")).read([0]) == [None]


def fill(folder, begun):
    store = kept(folder)
    while True:
        for view in range(VIEWS):
            store.write([view], store.packed(maps_of([view])))
            begun.set()


def test_processes_fill_one_folder_and_may_be_killed_at_any_time(tmp_path):
    fork = multiprocessing.get_context("fork")  # without a second import of torch
    right = kept(tmp_path / "right").packed(maps_of(range(VIEWS)))
    for turn in range(3):
        begun = [fork.Event(), fork.Event()]
        both = [fork.Process(target=fill, args=(tmp_path / "maps", one)) for one in begun]
        for process, one in zip(both, begun):
            process.start()
            assert one.wait(60)
        time.sleep(0.05 * turn)
        for process in both:
            process.kill()
            process.join()
        read = kept(tmp_path / "maps").read(range(VIEWS))
        assert any(entry is not None for entry in read)
        assert all(entry is None or (entry == own).all() for entry, own in zip(read, right))


class Teacher:
    """Counts its passes; a map is a mean of the image's own pixels and of its batch's size."""

    def __init__(self):
        self.batches = []

    def __call__(self, images):
        self.batches.append(len(images))
        shift = 1e-3 * len(images)
        return [images[:, :1, :h, :w].repeat(1, c, 1, 1) + shift for c, h, w in SHAPES], None


def test_the_teacher_runs_for_new_views_alone_and_what_is_kept_stays(tmp_path):
    images = torch.rand(4, 3, 8, 8)
    model = Teacher()
    teacher = KeptTeacher(model, kept(tmp_path))
    first = teacher(images[:2], [0, 1])
    mixed = teacher(images, [0, 1, 2, 3])
    again = KeptTeacher(model, kept(tmp_path))(torch.zeros_like(images), [0, 1, 2, 3])
    assert model.batches == [2, 4]  # a batch with one new view runs whole
    for a, b, c in zip(first, mixed, again):
        assert torch.equal(a, b[:2]) and torch.equal(b, c)


def test_what_a_worker_has_read_is_used_and_what_it_missed_is_looked_for_again(tmp_path):
    images, model = torch.rand(2, 3, 8, 8), Teacher()
    store = kept(tmp_path)
    teacher = KeptTeacher(model, store)
    first = teacher(images, [0, 1])
    other = store.packed(maps_of([7]))
    read = teacher(images, [0, 1], [other[0], None])
    assert model.batches == [2]
    for own, got, foreign in zip(first, read, store.unpacked(other)):
        assert torch.equal(got[0], foreign[0]) and torch.equal(got[1], own[1])


def test_maps_are_smoothed_before_they_are_kept_if_the_losses_smooth_them(tmp_path):
    images = torch.rand(2, 3, 16, 16)
    for smooth in (False, True):
        store = kept(tmp_path / str(smooth), shapes=[(3, 4, 4)], bits=16)
        (got,) = KeptTeacher(lambda x: ([x], None), store, smooth)(images, [0, 1])
        expected = torch.nn.functional.interpolate(images, (4, 4), mode="bicubic", antialias=smooth)
        assert (got - expected).abs().max() < 1e-4


def test_maps_are_kept_no_larger_than_they_are_compared(tmp_path):
    images = torch.rand(2, 3, 16, 16)
    shapes = kept_shapes([images, images[..., :3, :3]], grid=(4, 4))
    assert shapes == [(3, 4, 4), (3, 3, 3)]
    teacher = KeptTeacher(lambda x: ([x, x[..., :3, :3]], None), kept(tmp_path, shapes=shapes))
    large, small = teacher(images, [0, 1])
    smaller = torch.nn.functional.interpolate(images, (4, 4), mode="bicubic")
    assert (large - smaller).abs().max() < 3e-3 and (small - images[..., :3, :3]).abs().max() < 3e-3
    assert kept_shapes([images]) == [(3, 16, 16)]
