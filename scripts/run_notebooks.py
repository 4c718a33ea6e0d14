"""Executes every notebook of a folder, top to bottom in a fresh kernel, and writes the executed copies to another.

    python scripts/run_notebooks.py notebooks out/notebooks

With PDEJAX_TOY=1 in the environment the notebooks choose sizes that take seconds. A notebook that raises ends the run
with its traceback; a folder without notebooks is an error, so that a moved folder cannot pass unnoticed.
"""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def execute(source: Path, target: Path) -> None:
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    # The kernel works where the copy goes: what a notebook writes stays out of the source tree. Its name is fixed,
    # because the one a notebook was last saved with need not exist here.
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(target.parent)}}
    )
    try:
        client.execute()
    finally:
        nbformat.write(notebook, target)


def main(folder: str, out: str) -> None:
    sources = sorted(Path(folder).glob("*.ipynb"))
    if not sources:
        sys.exit(f"no notebook found in {folder}/")
    Path(out).mkdir(parents=True, exist_ok=True)
    for source in sources:
        started = time.perf_counter()
        execute(source, Path(out).resolve() / source.name)
        print(f"{source}: executed in {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
