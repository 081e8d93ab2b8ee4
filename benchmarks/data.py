"""Seconds of one processor core to draw 4000 scenes and 1000 photographed pages.

.venv/bin/python benchmarks/data.py
"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from utils import data


def seconds(draw, count, **how):
    """Of one call; another has been made before."""
    draw(20, **how)
    begun = time.process_time()
    draw(count, **how)
    return time.process_time() - begun


if __name__ == "__main__":
    print(f"4000 scenes: {seconds(data.scenes, 4000):.1f} s")
    print(f"1000 pages: {seconds(data.documents, 1000, look='photographed'):.1f} s")
