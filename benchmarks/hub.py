"""Six students at once on this machine: seconds to the first cell, and memory while they run 03a.

    sudo .venv/bin/python benchmarks/hub.py [STUDENTS]

Each logs in by password, starts a server, pulls the course, opens 03a and runs it to its first trained
model, then moves a slider; afterwards they run the rest of the notebook. A student's memory is the sum
over the processes of PSS: what is shared with others counts by its share, as it does for the machine.
"""

import concurrent.futures
import contextlib
import pathlib
import statistics
import sys
import threading
import time

import nbformat

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import classroom  # noqa: E402
import kernels  # noqa: E402

NAMES = ("ada", "bob", "cem", "dia", "eva", "fay")
NOTEBOOK = "03a_vae.ipynb"
BUDGET_MB = 700


def memory_mb(student):
    """The PSS of a student's processes, in MB."""
    total = 0
    for number in student.processes():
        with contextlib.suppress(OSError):
            text = pathlib.Path(f"/proc/{number}/smaps_rollup").read_text()
            total += 1024 * int(
                next(x for x in text.splitlines() if x.startswith("Pss:")).split()[1]
            )
    return total / 1e6


class Watch(threading.Thread):
    """Keeps each student's greatest memory, looked at twice a second."""

    def __init__(self, students):
        super().__init__(daemon=True)
        self.students, self.peak, self.over = (
            students,
            dict.fromkeys(students, 0.0),
            threading.Event(),
        )

    def run(self):
        while not self.over.wait(0.5):
            for student in self.students:
                self.peak[student] = max(self.peak[student], memory_mb(student))

    def tell(self, what):
        peaks = sorted(self.peak.values())
        print(
            f"MB a student, {what}: {statistics.mean(peaks):.0f} on average, {peaks[-1]:.0f} at most"
        )
        return peaks[-1]


def parts():
    """The code cells of 03a: up to the first trained model, and the rest."""
    notebook = nbformat.read(ROOT / "notebooks" / NOTEBOOK, 4)
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    first = next(
        i for i, text in enumerate(sources) if text.startswith("autoencoder = Autoencoder()")
    )
    return sources[: first + 1], sources[first + 1 :]


def begin(student):
    """From log-in to the first cell; return (kernel, seconds to the server, the course, the first cell)."""
    start = time.monotonic()
    student.log_in()
    student.start_server()
    server = time.monotonic() - start
    student.pull()
    pulled = time.monotonic() - start
    kernel = student.open(NOTEBOOK)
    kernel.run(parts()[0][0])
    return kernel, server, pulled, time.monotonic() - start


def train(kernel):
    """03a to its first trained model, and a slider moved."""
    for source in parts()[0][1:]:
        kernel.run(source)
    assert kernel.run("print(len(runs['autoencoder'].history['loss']))").strip() == "1000"
    kernel.run("live = explore.Explorer('03_vae/plane')\nlive")
    kernel.move_slider([1.5, -0.5])
    assert kernel.run("print(live.values)").strip() == "[1.5, -0.5]"


def finish(kernel):
    for source in parts()[1]:
        with contextlib.suppress(kernels.CellError):  # an exercise that is still open
            kernel.run(source)


def main(count):
    with (
        classroom.Classroom(NAMES[:count]) as room,
        concurrent.futures.ThreadPoolExecutor(count) as pool,
    ):
        begun = list(pool.map(begin, room.students))
        for what, seconds in zip(
            ("server", "course", "first cell"), list(zip(*begun))[1:], strict=True
        ):
            print(f"seconds from log-in to {what}, {count} at once: "
                  f"{statistics.median(seconds):.0f} in the middle, {max(seconds):.0f} at most")  # fmt: skip
        kernels = [kernel for kernel, *_ in begun]
        watch = Watch(room.students)
        watch.start()
        start = time.monotonic()
        list(pool.map(train, kernels))
        print(
            f"seconds to the first trained model, from the first cell on: {time.monotonic() - start:.0f}"
        )
        most = watch.tell("to the first trained model")
        list(pool.map(finish, kernels))
        most = max(most, watch.tell("in the whole of 03a"))
        watch.over.set()
        watch.join()
    print(f"budget {BUDGET_MB} MB: {'kept' if most <= BUDGET_MB else 'NOT KEPT'}; "
          f"30 students: {30 * most / 1000:.1f} GB")  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else len(NAMES))
