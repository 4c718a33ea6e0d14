"""What an earlier demo left in its folder: recognised, and removed before the next one begins."""

from collections.abc import Iterator
from pathlib import Path

# Tells a folder that may be replaced from one that holds somebody's work.
MARK = "demo.txt"
PLOTS = (
    "correlation_against_time",
    "error_against_cost",
    "fields",
    "relative_l2_against_time",
    "spectra",
    "spectrum_error_against_time",
    "training",
)
TEXTS = ("curves.csv", "metrics.csv", "metrics.json", "report.html", "summary.txt", "training.csv")
# How files end that are renamed when they are whole; a process that was killed leaves them behind.
UNFINISHED = (".partial", ".unfinished")


def refuse_foreign(out: Path, name: str) -> None:
    """Raises `ValueError` unless `out` is absent, or holds nothing but what a demo of this `name` left."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; name a folder.")
    if not out.is_dir() or (out / MARK).exists():
        return
    if set(out.iterdir()) - set(_unfinished(out, name)):
        raise ValueError(f"--out {out} holds files that no demo made (it has no {MARK}): name a new or empty folder.")


def begin_anew(out: Path, name: str, model: str) -> None:
    """Marks `out` as a demo's, and removes what an earlier one left: never are results of two runs side by side.

    Files of other names stay, somebody may have put them there.
    """
    out.mkdir(parents=True, exist_ok=True)
    # First of all: a demo that is killed leaves a folder that the next one may replace.
    (out / MARK).write_text(f"Made by `pdejax demo`; the next one with --out {out} replaces it.\n")
    for path in (*_finished(out, name, model), *_unfinished(out, name)):
        path.unlink(missing_ok=True)


def _finished(out: Path, name: str, model: str) -> Iterator[Path]:
    yield from (out / "data" / split / f"{name}.hdf5" for split in ("train", "valid", "test"))
    yield from (out / f"{plot}.png" for plot in PLOTS)
    yield from (out / file for file in (*TEXTS, model, "animation.gif"))


def _unfinished(out: Path, name: str) -> list[Path]:
    """Temporary files of a demo: those of its data anywhere, and in a folder that it has marked those of the rest."""
    found = [path for path in out.rglob("*") if path.is_file() and path.name.endswith(UNFINISHED)]
    found += out.glob(f".{name}.unfinished.hdf5")
    marked = (out / MARK).exists()
    return [path for path in found if marked or name in path.name]
