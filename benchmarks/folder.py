"""How long a large folder takes to open, and what stepping through it keeps in memory.

    python benchmarks/folder.py --out docs/results/folder

Makes its images itself, in a temporary folder that is deleted afterwards. Linux only: it asks
/proc for the memory of the process.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from flexpose.evaluation.report import markdown_table
from flexpose.frames import FolderFrames
from flexpose.frames.base import CACHE_BYTES
from flexpose.io.base import atomic_write_text

WIDTH, HEIGHT = 640, 480
ORIGINALS = 20  # the rest are hard links
PER_FOLDER = 1000


def make_images(folder: Path, count: int) -> None:
    """Numbered images in sub-folders of a thousand."""
    originals = []
    for number in range(ORIGINALS):
        path = folder / f".original{number}.png"
        image = np.full((HEIGHT, WIDTH, 3), 12 * number, np.uint8)
        image[100:300, 20 * number : 20 * number + 60] = 255
        Image.fromarray(image).save(path)
        originals.append(path)
    for number in range(count):
        clip = folder / f"clip{number // PER_FOLDER}"
        if number % PER_FOLDER == 0:
            clip.mkdir()
        os.link(originals[number % ORIGINALS], clip / f"img{number % PER_FOLDER}.png")


def memory() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--steps", type=int, default=2_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_images(folder, args.count)
        load = os.getloadavg()[0]
        seconds, busy, before = [], [], memory()
        for _ in range(5):
            began, worked = time.perf_counter(), time.process_time()
            source = FolderFrames(folder)
            seconds.append(time.perf_counter() - began)
            busy.append(time.process_time() - worked)
        assert len(source.names) == args.count
        rows = [["before opening", f"{before:.0f} MiB"], ["opened", f"{memory():.0f} MiB"]]
        worked = time.process_time()
        for step in range(1, args.steps + 1):
            source.read(step)
            if step % (args.steps // 4) == 0:
                rows.append([f"{step:,} frames read", f"{memory():.0f} MiB"])
        each = (time.process_time() - worked) / args.steps
    text = (
        f"Written by `benchmarks/folder.py`: {platform.machine()}, Python "
        f"{platform.python_version()}. A folder of {args.count:,} images of {WIDTH} x {HEIGHT} "
        f"pixels in sub-folders of {PER_FOLDER:,}, just written, so the system knows its entries "
        f"already. Opening took {statistics.median(seconds):.2f} s by the clock (median of 5, "
        f"{min(seconds):.2f}-{max(seconds):.2f}) and {statistics.median(busy):.2f} s on the "
        f"processor, on {os.cpu_count()} cores with a load of {load:.0f} from other work. A step "
        f"to the next frame took {1000 * each:.1f} ms on the processor. Frames read last are kept, "
        f"up to {CACHE_BYTES / 2**20:.0f} MiB.\n\n"
        f"{markdown_table(['after', 'resident memory'], rows)}"
    )
    atomic_write_text(args.out.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
