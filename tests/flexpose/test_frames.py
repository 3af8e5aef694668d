"""Sources of frames: order and names, what becomes of odd images, exact seeking, errors."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from flexpose.annotation.project import SUFFIX
from flexpose.errors import DataFormatError
from flexpose.frames import (
    CocoFrames,
    FolderFrames,
    VideoFolder,
    VideoFrames,
    images,
    open_frames,
    video,
)
from flexpose.frames.base import ByteCache, natural_key
from flexpose.io import CocoDataset, CocoImage, write_coco
from flexpose.runs import RunDir

COLOURS = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3


def put(folder: Path, *names: str, pixels: np.ndarray = COLOURS) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def read_one(path: Path, image: Image.Image, **options: object) -> tuple[np.ndarray, tuple]:
    """What a folder with this one image gives, and its notes; the size is checked."""
    image.save(path, **options)
    source = FolderFrames(path.parent)
    size = source.size(0)
    pixels = source.read(0)
    assert size == source.size(0) == (pixels.shape[1], pixels.shape[0])
    assert pixels.dtype == np.uint8
    return pixels, source.notes


# ---------------------------------------------------------------- folders


def test_a_folder_is_in_natural_order_with_its_folders(tmp_path: Path) -> None:
    put(tmp_path, "img10.png", "img2.PNG", "clip1/0007.jpg", "clip1/0010.jpg", "clip10/1.bmp")
    put(tmp_path, "clip2/Größe 3.tiff", "clip2/größe 12.webp", ".hidden/1.png", "clip1/._7.png")
    (tmp_path / "notes.txt").write_text("not an image")
    source = open_frames(tmp_path)
    assert isinstance(source, FolderFrames)
    assert source.names == (
        "clip1/0007.jpg",
        "clip1/0010.jpg",
        "clip2/Größe 3.tiff",
        "clip2/größe 12.webp",
        "clip10/1.bmp",
        "img2.PNG",
        "img10.png",
    )
    assert source.root == tmp_path
    assert source.description == f"7 images in {tmp_path}"
    for index in range(7):
        assert source.read(index).shape == (4, 6, 3)


@given(st.lists(st.text("aB1290/", max_size=6), unique=True))
def test_natural_order_does_not_depend_on_the_order_found(names: list[str]) -> None:
    shuffled = [*names[1::2], *names[::2]]
    assert sorted(shuffled, key=natural_key) == sorted(names, key=natural_key)


@given(st.integers(0, 10**30), st.integers(0, 10**30))
def test_numbers_in_names_sort_by_value(a: int, b: int) -> None:
    assert (natural_key(f"x/f{a}.png") < natural_key(f"x/f{b}.png")) == (a < b)


def test_opening_a_folder_walks_once_and_opens_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    walked = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: walked.append(Path(path).name) or scandir(path))
    assert len(FolderFrames(tmp_path).names) == 3
    assert sorted(walked) == sorted([tmp_path.name, "a", "b"])


def test_pictures_of_our_own_are_no_frames(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "clip" / "runs" / "adapt-0001")
    put(tmp_path, "clip/1.png", f"clip{SUFFIX}/shown.png", "flexpose/2.png", "previews/3.png")
    put(run.path, "previews/4.png")
    run.events_file.write_text("")
    assert FolderFrames(tmp_path).names == ("clip/1.png", "flexpose/2.png", "previews/3.png")
    assert FolderFrames(run.path).names == ("previews/4.png",)  # when it is asked for


def test_links_that_lead_back_are_followed_once(tmp_path: Path) -> None:
    put(tmp_path, "clip/1.png")
    other = tmp_path / "other"
    other.mkdir()
    try:
        (tmp_path / "clip" / "up").symlink_to(tmp_path, target_is_directory=True)
        (other / "linked").symlink_to(tmp_path / "clip", target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    assert FolderFrames(tmp_path / "clip").names[0] == "1.png"
    assert "linked/1.png" in FolderFrames(other).names


@pytest.mark.skipif(os.name == "nt", reason="such names cannot be written on Windows")
def test_names_that_labels_cannot_hold_are_left_out_and_told(tmp_path: Path) -> None:
    put(tmp_path, "good.png", "back\\slash.png")
    source = FolderFrames(tmp_path)
    assert source.names == ("good.png",)
    (note,) = source.notes
    assert "back" in note
    assert "left out" in note


def test_images_of_any_size_are_read_when_asked_for(tmp_path: Path) -> None:
    put(tmp_path, "1.png")
    put(tmp_path, "2.png", pixels=np.zeros((7, 3, 3), np.uint8))
    source = FolderFrames(tmp_path)
    assert [source.size(i) for i in (0, 1)] == [(6, 4), (3, 7)]
    np.testing.assert_array_equal(source.read(0), COLOURS)
    assert source.read(1).shape == (7, 3, 3)
    with pytest.raises(ValueError, match="read-only"):
        source.read(0)[0, 0] = 1
    for index in (-1, 2):
        with pytest.raises(IndexError):
            source.read(index)
        with pytest.raises(IndexError):
            source.size(index)


def test_what_was_read_last_is_not_read_again(tmp_path: Path) -> None:
    put(tmp_path, "1.png", "2.png", "3.png")
    source = FolderFrames(tmp_path, cache_bytes=2 * COLOURS.nbytes)
    for index in (0, 1, 2):
        source.read(index)
    for name in source.names:
        (tmp_path / name).unlink()
    source.read(1)
    assert source.size(2) == (6, 4)
    with pytest.raises(DataFormatError, match=r"1\.png"):
        source.read(0)


# ---------------------------------------------------------------- images of all kinds


def turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """What a viewer shows, by the table of the EXIF standard."""
    steps = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}[orientation]
    shown = np.rot90(pixels, steps)
    if orientation in (2, 4):
        return shown[:, ::-1]
    return shown[::-1] if orientation in (5, 7) else shown


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    for name, pixels in (("colour", COLOURS), ("grey", COLOURS[..., 0])):
        folder = tmp_path / name
        folder.mkdir()
        path = folder / f"1.{suffix}"
        found, _ = read_one(path, Image.fromarray(pixels), exif=exif, **options)
        expected = turned(pixels, orientation)
        np.testing.assert_array_equal(found if name == "colour" else found[..., 0], expected)


def test_16_bit_grey_is_spread_over_its_own_range(tmp_path: Path) -> None:
    values = np.array([[1000, 1510], [1255, 1002]], dtype=np.uint16)
    for suffix in ("png", "tif"):
        pixels, notes = read_one(tmp_path / f"1.{suffix}", Image.fromarray(values))
        assert pixels[..., 0].tolist() == [[0, 255], [128, 1]]
        assert (pixels == pixels[..., :1]).all()
        assert "8 bits" in notes[0]
        (tmp_path / f"1.{suffix}").unlink()


def test_float_images_are_spread_and_nan_is_black(tmp_path: Path) -> None:
    values = np.array([[-1.0, 1.0, np.nan], [0.0, np.inf, 1.0]], dtype=np.float32)
    Image.fromarray(values).save(tmp_path / "1.tif")
    pixels = FolderFrames(tmp_path).read(0)
    assert pixels[..., 1].tolist() == [[0, 255, 0], [128, 0, 255]]
    assert not images.spread_to_bytes(np.full((2, 2), 7)).any()
    assert not images.spread_to_bytes(np.full((2, 2), np.nan)).any()


def test_16_bit_colour_keeps_the_upper_bits(tmp_path: Path) -> None:
    values = COLOURS.astype(np.uint16) * 256 + 255
    cv2.imwrite(str(tmp_path / "1.png"), values[..., ::-1])
    source = FolderFrames(tmp_path)
    np.testing.assert_array_equal(source.read(0), COLOURS)
    assert source.notes == ()


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1"])
def test_grey_alpha_and_palettes_become_rgb(tmp_path: Path, mode: str) -> None:
    grey = np.where(COLOURS[..., 0] > 100, 255, 0).astype(np.uint8)
    image = Image.fromarray(grey).convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(7)
    pixels, notes = read_one(tmp_path / "1.png", image)
    np.testing.assert_array_equal(pixels, np.repeat(grey[..., None], 3, axis=2))
    assert notes == ()


def test_the_first_page_is_taken_and_told_once(tmp_path: Path) -> None:
    pages = [Image.fromarray(COLOURS + shift) for shift in (0, 9)]
    path = tmp_path / "1.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    put(tmp_path, "2.png")
    source = FolderFrames(tmp_path, cache_bytes=1)
    for index in (0, 1, 0):
        pixels = source.read(index)
        np.testing.assert_array_equal(pixels, COLOURS)
    assert source.notes == ("1.tif: several pages; only the first is used",)


def test_an_unreadable_image_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    put(tmp_path, "1.png", "3.png")
    (tmp_path / "2.png").write_bytes(b"no image")
    (tmp_path / "4.png").write_bytes((tmp_path / "1.png").read_bytes()[:50])
    source = FolderFrames(tmp_path)
    with pytest.raises(DataFormatError, match=r"2\.png: is not an image"):
        source.read(1)
    with pytest.raises(DataFormatError, match=r"4\.png: is a damaged image"):
        source.read(3)
    np.testing.assert_array_equal(source.read(2), COLOURS)
    (tmp_path / "3.png").unlink()
    with pytest.raises(DataFormatError, match=r"3\.png: cannot be read \(No such file"):
        images.read_image(tmp_path / "3.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
def test_a_file_cut_anywhere_is_refused_or_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"1.{suffix}"
    put(tmp_path, path.name)
    content = path.read_bytes()
    for end in range(0, len(content), 7):
        path.write_bytes(content[:end])
        try:
            images.read_image(path)
        except DataFormatError as error:
            assert error.path == path


def test_what_a_suffix_promises_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(DataFormatError, match="not an image"):
        images.read_image(path)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def test_a_rotation_behind_the_pixels_of_a_png_counts(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    put(tmp_path, path.name)
    exif = Image.Exif()
    exif[0x0112] = 6
    content = path.read_bytes()
    late = png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    path.write_bytes(content[:-12] + late + content[-12:])  # the end takes 12 bytes
    source = FolderFrames(tmp_path)
    assert source.size(0) == (4, 6)
    np.testing.assert_array_equal(source.read(0), turned(COLOURS, 6))


def test_sizes_are_read_without_the_pixels(tmp_path: Path) -> None:
    put(tmp_path, "1.png", "2.jpg", "3.bmp", pixels=np.zeros((300, 400, 3), np.uint8))
    for name, values in (
        ("4.tif", np.zeros((300, 400), np.float32)),
        ("5.tif", np.zeros((300, 400), np.uint16)),
        ("6.png", np.zeros((300, 400), np.uint16)),
    ):
        Image.fromarray(values).save(tmp_path / name)
    cv2.imwrite(str(tmp_path / "7.tif"), np.zeros((300, 400, 3), np.uint16))
    source = FolderFrames(tmp_path)
    for index, name in enumerate(source.names):
        path = tmp_path / name
        content = path.read_bytes()
        end = len(content) // 2 if path.suffix in (".png", ".jpg", ".bmp") else len(content)
        path.write_bytes(content[:end])
        assert source.size(index) == (400, 300), name


def test_the_size_of_what_is_no_image_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "1.png")
    (tmp_path / "2.png").write_bytes(b"no image")
    cv2.imwrite(str(tmp_path / "3.tif"), np.zeros((3, 4, 3), np.float32))  # Pillow knows it not
    (tmp_path / "4.png").write_bytes((tmp_path / "1.png").read_bytes()[:20])
    source = FolderFrames(tmp_path)
    for index in (1, 2, 3):
        for look in (source.size, source.read):
            with pytest.raises(DataFormatError, match=rf"{index + 1}\.[a-z]+: is "):
                look(index)


def test_remarks_of_pillow_do_not_reach_the_terminal(tmp_path: Path) -> None:
    palette = Image.fromarray(COLOURS).convert("P")
    palette.save(tmp_path / "1.png", transparency=bytes(range(10)))
    Image.new("1", (9500, 9500)).save(tmp_path / "2.png")
    program = """
import sys, threading
from flexpose.frames import FolderFrames
source = FolderFrames(sys.argv[1])
for index in range(2):
    for look in (source.size, source.read):
        thread = threading.Thread(target=look, args=(index,))
        thread.start()
        thread.join()
"""
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


# ---------------------------------------------------------------- the cache


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 60)), max_size=40))
def test_the_cache_holds_the_latest_that_fit(puts: list[tuple[int, int]]) -> None:
    cache: ByteCache[int] = ByteCache(100)
    latest: dict[int, int] = {}
    for key, size in puts:
        cache.put(key, size, size)
        latest.pop(key, None)
        latest[key] = size
        total, kept = 0, set()
        for known in reversed(latest):
            total += latest[known]
            if total > 100:
                break
            kept.add(known)
        latest = {k: v for k, v in latest.items() if k in kept}
    assert {key for key in range(6) if cache.get(key) is not None} == set(latest)


def test_the_cache_keeps_what_is_larger_than_itself_alone() -> None:
    cache: ByteCache[str] = ByteCache(10)
    cache.put(1, "small", 5)
    cache.put(2, "large", 50)
    assert (cache.get(1), cache.get(2)) == (None, "large")


# ---------------------------------------------------------------- video


def write_video(
    path: Path,
    codec: str = "mpeg4",
    *,
    count: int = 40,
    start: int = 0,
    rotation: int = 0,
    options: dict[str, str] | None = None,
) -> list[np.ndarray]:
    """Encode a moving bar with B-frames and a keyframe every ten; what decoding it all gives."""
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV was built without {codec}")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height = 64, 48
        if codec == "mjpeg":
            stream.pix_fmt = "yuvj420p"
        else:
            stream.pix_fmt = "yuv420p"
            stream.codec_context.gop_size = 10
            stream.codec_context.max_b_frames = 2
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(count):
            pixels = np.full((48, 64, 3), number * 5, np.uint8)
            pixels[8:30, number : number + 9] = (255, 40, 0)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = number + start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


VIDEOS = {
    "mpeg4.avi": {},
    "mpeg4.mkv": {},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "late.mov": {"start": 77},
    "h264.mp4": {"codec": "libx264", "start": 5},
    "open.mp4": {"codec": "libx264", "options": {"x264-params": "open-gop=1"}},
    "h264.ts": {"codec": "libx264", "start": 500},
    "untimed.avi": {"codec": "libx264"},
    "refresh.mp4": {"codec": "libx264", "options": {"intra-refresh": "1"}},
}


@pytest.mark.parametrize("name", VIDEOS)
@pytest.mark.parametrize("cache_bytes", [1, 10 * 64 * 48, 2**20])
def test_each_frame_is_the_one_that_decoding_from_the_start_gives(
    tmp_path: Path, name: str, cache_bytes: int
) -> None:
    expected = write_video(tmp_path / name, **VIDEOS[name])
    source = VideoFrames(tmp_path / name, cache_bytes=cache_bytes)
    count = len(expected)
    assert len(source.names) == count == 40
    jumps = np.random.default_rng(0).integers(0, count, 60).tolist()
    for index in [*range(count), *reversed(range(count)), *jumps]:
        np.testing.assert_array_equal(source.read(index), expected[index], err_msg=str(index))
    assert bool(source.notes) == (name == "untimed.avi")


def test_a_video_names_its_frames_after_the_file(tmp_path: Path) -> None:
    write_video(tmp_path / "Käfer 1.avi", count=12)
    source = open_frames(tmp_path / "Käfer 1.avi")
    assert isinstance(source, VideoFrames)
    assert source.names[0] == "Käfer 1.avi/000000.png"
    assert source.names[11] == "Käfer 1.avi/000011.png"
    assert source.root == tmp_path
    assert source.size(3) == (64, 48)
    assert source.description == "Käfer 1.avi, 12 frames of 64 x 48 pixels"
    with pytest.raises(IndexError):
        source.read(12)
    with pytest.raises(IndexError):
        source.size(-1)


def test_stepping_forward_never_seeks_and_a_jump_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "1.mkv")
    source = VideoFrames(tmp_path / "1.mkv", cache_bytes=1)
    sought, opened = [], []
    seek, start = video._sought, video._opened
    monkeypatch.setattr(video, "_sought", lambda *a: sought.append(a) or seek(*a))
    monkeypatch.setattr(video, "_opened", lambda *a: opened.append(a) or start(*a))
    for index in range(40):
        source.read(index)
    assert not sought
    source.read(15)
    source.read(35)
    assert 2 <= len(sought) <= 4
    assert not opened


def test_small_steps_back_are_not_decoded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = write_video(tmp_path / "1.mkv")
    source = VideoFrames(tmp_path / "1.mkv")
    source.read(38)
    monkeypatch.setattr(source, "_decode", lambda number: pytest.fail(f"decoded {number}"))
    for index in (38, 37, 36):
        np.testing.assert_array_equal(source.read(index), expected[index])


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_a_video_that_asks_to_be_turned_is_turned(tmp_path: Path, rotation: int) -> None:
    stored = write_video(tmp_path / "1.mp4", count=3, rotation=rotation)
    source = VideoFrames(tmp_path / "1.mp4")
    upright = np.rot90(stored[1], rotation // 90)  # the sign is FFmpeg's: counter-clockwise
    np.testing.assert_array_equal(source.read(1), upright)
    assert source.size(1) == (upright.shape[1], upright.shape[0])


def test_threads_may_read_the_same_video(tmp_path: Path) -> None:
    expected = write_video(tmp_path / "1.mkv")
    source = VideoFrames(tmp_path / "1.mkv", cache_bytes=1)
    wrong: list[int] = []

    def look(seed: int) -> None:
        for index in np.random.default_rng(seed).integers(0, 40, 40).tolist():
            if not np.array_equal(source.read(index), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=look, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_file_without_pictures_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(DataFormatError, match="no video stream"):
        open_frames(path)
    path.write_text("not a video")
    with pytest.raises(DataFormatError, match="cannot be decoded"):
        open_frames(path)


def test_a_damaged_frame_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "1.avi"
    expected = write_video(path, "mjpeg")
    with av.open(str(path)) as container:
        packet = next(p for p in container.demux(video=0) if p.pts == 35)
        place, size = packet.pos, packet.size
    content = bytearray(path.read_bytes())
    content[place : place + size] = bytes(size)
    path.write_bytes(content)
    source = VideoFrames(path)
    with pytest.raises(DataFormatError, match=r"1\.avi, frame 35: cannot be decoded"):
        source.read(35)
    for index in (34, 36, 0, 39):
        np.testing.assert_array_equal(source.read(index), expected[index])


# ---------------------------------------------------------------- COCO


def coco_file(path: Path, poses, names) -> None:
    listed = tuple(CocoImage(name=name, width=6, height=4) for name in names)
    path.parent.mkdir(exist_ok=True)
    write_coco(CocoDataset(poses=poses[:0], images=listed), path)


def test_a_coco_file_gives_its_images_in_its_order(tmp_path: Path, puppet_poses) -> None:
    names = ("clip/10.png", "clip/2.png", "gone.png")
    put(tmp_path / "images", *names[:2])
    coco_file(tmp_path / "labels" / "a.json", puppet_poses(2), names)
    source = open_frames(tmp_path / "labels" / "a.json", tmp_path / "images")
    assert isinstance(source, CocoFrames)
    assert source.names == names
    assert source.root == tmp_path / "images"
    np.testing.assert_array_equal(source.read(1), COLOURS)
    assert source.size(0) == (6, 4)
    with pytest.raises(DataFormatError, match=r"gone\.png"):
        source.read(2)
    put(tmp_path / "labels", names[2])
    assert open_frames(tmp_path / "labels" / "a.json").read(2).shape == (4, 6, 3)


def test_a_coco_file_without_its_images_says_where_it_looked(tmp_path: Path, puppet_poses) -> None:
    coco_file(tmp_path / "a.json", puppet_poses(2), ("1.png",))
    with pytest.raises(DataFormatError, match="none of its images") as caught:
        open_frames(tmp_path / "a.json")
    assert "folder of the images" in caught.value.hint
    coco_file(tmp_path / "b.json", puppet_poses(2), ())
    with pytest.raises(DataFormatError, match="lists no images"):
        open_frames(tmp_path / "b.json")


def test_a_folder_of_videos_is_one_video_after_the_other(tmp_path: Path) -> None:
    for name in ("b/c10.avi", "b/c2.avi", "a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_video(tmp_path / name, count=12 if name == "a.mp4" else 5)
    source = open_frames(tmp_path)
    assert isinstance(source, VideoFolder)
    videos = [name.rpartition("/")[0] for name in source.names]
    assert videos == ["a.mp4"] * 12 + ["b/c2.avi"] * 5 + ["b/c10.avi"] * 5
    assert source.names[12] == "b/c2.avi/000000.png"
    assert source.root == tmp_path
    assert (source.size(0), source.description[:8]) == ((64, 48), "3 videos")
    alone = VideoFrames(tmp_path / "b/c10.avi")
    for index in (18, 3, 21, 17):
        other = alone.read(index - 17) if index >= 17 else open_frames(tmp_path / "a.mp4").read(3)
        np.testing.assert_array_equal(source.read(index), other)
    with pytest.raises(IndexError):
        source.read(22)
    put(tmp_path, "b/cover.png")
    assert open_frames(tmp_path).names == ("b/cover.png",)


# ---------------------------------------------------------------- what is none of these


def test_what_is_no_source_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match=r"holds no images; looked for \.png, \.jpg"):
        open_frames(tmp_path)
    (tmp_path / "clip.mp4").write_bytes(b"")
    with pytest.raises(DataFormatError, match=r"clip\.mp4: cannot be decoded"):
        open_frames(tmp_path)
    for name, problem in (
        ("absent", "does not exist"),
        ("absent.avi", "does not exist"),
        ("1.png", "single image"),
        ("1.txt", "neither a folder"),
    ):
        if not name.startswith("absent"):
            put(tmp_path, "1.png")
            (tmp_path / "1.txt").write_text("")
        with pytest.raises(DataFormatError, match=problem):
            open_frames(tmp_path / name)
    for kind in (FolderFrames, VideoFrames, CocoFrames):
        with pytest.raises(DataFormatError, match="absent"):
            kind(tmp_path / "absent")
