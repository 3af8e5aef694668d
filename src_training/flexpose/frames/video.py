"""Frames of a video by number, exactly: frame i is the i-th that decoding from the start gives.

Players seek to a time, and often to the nearest keyframe only; a label belongs to one very frame.
On opening, the times of all frames are read from the packets, without decoding. To reach a frame,
decoding begins at the last keyframe at or before it, and frames are told apart by their times. Some
files store no times, or wrong ones (raw streams, H.264 in AVI). The first frames, which are decoded
on opening, show it; such a video is then decoded once as a whole, and its frames are counted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, dropwhile, islice, pairwise
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from flexpose.errors import DataFormatError
from flexpose.frames.base import CACHE_BYTES, ByteCache, check_index

_PROBED = 32  # encoders reorder a few frames at most, so wrong times show among the first
# what PyAV raises for damaged files
_DAMAGE = (FFmpegError, LookupError, ValueError, ArithmeticError, MemoryError)
_SEEKS = 3  # keyframes to try before decoding from the start


@dataclass(frozen=True)
class _Index:
    """Where frames are; times are in the stream's own unit.

    Attributes
    ----------
    count : number of frames
    times : int64 (count,) when each frame is shown, ascending; None where times do not tell frames
        apart, so that they have to be counted from the start
    keys : int64 (k, 2) when each keyframe is shown and when it is decoded, ascending
    """

    count: int
    times: NDArray[np.int64] | None
    keys: NDArray[np.int64]

    def number(self, time: int | None) -> int | None:
        """Number of the frame that is shown at a time, None where there is none."""
        if self.times is None or time is None:
            return None
        number = int(np.searchsorted(self.times, time))
        return number if number < self.count and self.times[number] == time else None

    def keys_before(self, number: int) -> NDArray[np.int64]:
        """Keyframes (n, 2) from which a frame can be decoded, the nearest first."""
        if self.times is None:
            return self.keys[:0]
        return self.keys[self.keys[:, 0] <= self.times[number]][::-1]


class VideoFrames:
    """The frames of a video file; a `FrameSource`.

    A frame is called ``<file name>/<number>.png``, the number from 0 and with six digits. A video
    that asks to be turned is turned. What was decoded last is kept, frames on the way to the one
    asked for too, so that small steps in both directions are quick.

    Raises
    ------
    DataFormatError : the file is missing, or no video that can be decoded.
    """

    def __init__(self, path: Path | str, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._path = Path(path).absolute()
        if not self._path.is_file():
            raise DataFormatError(self._path, "", "does not exist or is no file.")
        self._lock = threading.Lock()
        self._cache: ByteCache[VideoFrame] = ByteCache(cache_bytes)
        try:
            self._index = _read_index(self._path)
            self._container, self._stream = _opened(self._path)
        except _DAMAGE as error:
            raise _undecodable(self._path, error) from error
        self._run: Iterator[tuple[int, VideoFrame]] = iter(())
        self._next = self._index.count  # number of the frame that the run gives next
        height, width, _ = self.read(0).shape
        self._size = (width, height)

        name, count = self._path.name, self._index.count
        self.root = self._path.parent
        self.names: Sequence[str] = tuple(f"{name}/{number:06d}.png" for number in range(count))
        self.description = f"{name}, {count:,} frames of {width} x {height} pixels"
        self.notes: tuple[str, ...] = ()
        if self._index.times is None:
            self.notes = (f"{name}: its times are missing or wrong, so large steps back are slow",)

    def read(self, index: int) -> NDArray[np.uint8]:
        check_index(index, self._index.count)
        with self._lock:
            frame = self._cache.get(index) or self._decode(index)
            pixels = frame.to_ndarray(format="rgb24")
        turned = np.rot90(pixels, round(frame.rotation / 90))
        upright = np.ascontiguousarray(turned, dtype=np.uint8)
        upright.setflags(write=False)
        return upright

    def size(self, index: int) -> tuple[int, int]:
        check_index(index, self._index.count)
        return self._size

    def _decode(self, number: int) -> VideoFrame:
        """Decode up to a frame: on from the last one, or from a keyframe where that is nearer."""
        keys = self._index.keys_before(number)
        nearest = self._index.number(int(keys[0, 0])) if len(keys) else None
        try:
            jump = number < self._next or self._next < (nearest or 0)
            self._next = self._index.count  # a run that ends or fails is of no more use
            if jump:
                self._run = self._run_to(number)
            for found, frame in self._run:
                self._cache.put(found, frame, sum(plane.buffer_size for plane in frame.planes))
                if found >= number:
                    self._next = found + 1
                    break
        except _DAMAGE as error:
            raise _undecodable(self._path, error, f"frame {number}") from error
        wanted = self._cache.get(number)
        if wanted is None:
            raise _undecodable(self._path, "damaged or missing", f"frame {number}")
        return wanted

    def _run_to(self, number: int) -> Iterator[tuple[int, VideoFrame]]:
        """Frames with their numbers, from a keyframe at or before ``number`` on."""
        for key in self._index.keys_before(number)[:_SEEKS].tolist():
            for time in key:  # formats seek by one or the other, so see where it leads
                packets = _sought(self._container, self._stream, time)
                packet = next(packets, None)
                start = None if packet is None else self._index.number(packet.pts)
                if packet is None or start is None or start > number:
                    continue
                run = _numbered(chain([packet], packets), self._index, start)
                first = next(run, None)
                if first is not None and first[0] <= number and _stands_alone(first[1]):
                    return chain([first], run)
        self._container.close()
        self._container, self._stream = _opened(self._path)
        return _numbered(self._container.demux(self._stream), self._index)


# ---------------------------------------------------------------- reading the file


def _opened(path: Path) -> tuple[InputContainer, VideoStream]:
    container = av.open(str(path), metadata_errors="replace")  # old AVI files are not UTF-8
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:  # the cover of a sound file
            stream.thread_type = "AUTO"
            return container, stream
    container.close()
    raise DataFormatError(path, "", "holds no video stream.")


def _read_index(path: Path) -> _Index:
    """Index from the packets, or from decoding everything where they do not tell enough."""
    times, keys = _packet_times(path)
    if not _ascend(times) or _decoded_times(path, _PROBED) != times[:_PROBED]:
        times = _decoded_times(path)
    if not times:
        raise _undecodable(path, "found no frame")
    exact = np.array(times, dtype=np.int64) if _ascend(times) else None
    return _Index(len(times), exact, np.array(keys, dtype=np.int64).reshape(-1, 2))


def _packet_times(path: Path) -> tuple[list[int | None], list[tuple[int, int]]]:
    """When each frame is shown, sorted if all are known; the times of keyframes, sorted."""
    container, stream = _opened(path)
    with container:
        packets = [
            (p.pts, p.dts, p.is_keyframe)
            for p in container.demux(stream)
            if p.size and not p.is_discard
        ]
    times = [shown for shown, _, _ in packets if shown is not None]
    keys = [
        (shown, shown if decoded is None else decoded)
        for shown, decoded, is_key in packets
        if is_key and shown is not None
    ]
    return [*sorted(times), *[None] * (len(packets) - len(times))], sorted(keys)


def _decoded_times(path: Path, count: int | None = None) -> list[int | None]:
    """When the frames that come out of the decoder say they are shown, the first ``count``."""
    container, stream = _opened(path)
    with container:
        return [frame.pts for frame in islice(_decoded(container.demux(stream)), count)]


def _ascend(times: Sequence[int | None]) -> bool:
    known = [time for time in times if time is not None]
    return len(known) == len(times) and all(a < b for a, b in pairwise(known))


def _sought(
    container: InputContainer, stream: VideoStream, time: int
) -> Iterator[Packet[VideoStream]]:
    """Packets from a keyframe near a time on; none where the file cannot be sought in."""
    try:
        container.seek(time, stream=stream)
    except FFmpegError:
        return iter(())
    return dropwhile(lambda packet: not packet.is_keyframe, container.demux(stream))


def _decoded(packets: Iterable[Packet[VideoStream]]) -> Iterator[VideoFrame]:
    """Frames of packets; a damaged packet gives none."""
    for packet in packets:
        try:
            yield from packet.decode()
        except InvalidDataError:
            continue


def _numbered(
    packets: Iterable[Packet[VideoStream]], index: _Index, start: int = 0
) -> Iterator[tuple[int, VideoFrame]]:
    """Frames with their numbers, without those before ``start``.

    Such frames may follow a keyframe in the file, and refer to frames before it.
    """
    for count, frame in enumerate(_decoded(packets)):
        number = count if index.times is None else index.number(frame.pts)
        if number is not None and number >= start:
            yield number, frame


def _stands_alone(frame: VideoFrame) -> bool:
    """Whether a frame refers to no other; some encoders call others keyframes too."""
    return frame.pict_type not in (PictureType.P, PictureType.B)


def _undecodable(path: Path, reason: object, where: str = "") -> DataFormatError:
    return DataFormatError(
        path,
        where,
        f"cannot be decoded ({getattr(reason, 'strerror', reason)}).",
        "Convert the video with ffmpeg, for example: ffmpeg -i old.avi new.mp4",
    )
