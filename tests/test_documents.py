"""The Python blocks of the documents, executed as a reader would, in one fresh process per document.

Each block has to run alone: it sees no name of another.

A block takes minutes at the size that a reader wants. What the test runs instead is said in the document itself, in a
comment that is not rendered, before the block:

    <!-- toy: num_samples=64 -> num_samples=4; (128, 128) -> (24, 24) -->

Each text on the left has to occur in the block, so the comment cannot outlive what it replaces.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
TOY = r"<!-- toy: (?P<toy>(?:(?!-->).)*?) -->\s*"
BLOCK = re.compile(rf"(?:{TOY})?^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def toy_blocks(text: str) -> list[str]:
    """The Python blocks of a Markdown document at toy size, each on the lines that it has in the document."""
    blocks = []
    for match in BLOCK.finditer(text):
        code = match["code"]
        for replacement in filter(str.strip, (match["toy"] or "").split(";")):
            old, new = (part.strip() for part in replacement.split("->"))
            if old not in code:
                raise ValueError(f"toy: {old!r} does not occur in the block after it; it reads\n{code}")
            code = code.replace(old, new)
        blocks.append("\n" * text.count("\n", 0, match.start("code")) + code)
    return blocks


def one_by_one(blocks: list[str], name: str) -> str:
    """A script that runs every block in a module of its own."""
    runs = [f"exec(compile({block!r}, {name!r}, 'exec'), {{'__name__': '__main__'}})" for block in blocks]
    return "\n".join(runs)


@pytest.mark.first
@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "docs/scaling.md"])
def test_document_runs(name, tmp_path):
    blocks = toy_blocks((REPOSITORY / name).read_text(encoding="utf-8"))
    assert blocks, f"{name} has no Python block"
    script = one_by_one(blocks, name)
    path = (tmp_path / name).with_suffix(".py")
    path.parent.mkdir(exist_ok=True)
    path.write_text(script, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, path],
        cwd=tmp_path,
        env=os.environ | {"PDEJAX_TOY": "1", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, f"{name}, with the line numbers of the document:\n{result.stderr[-4000:]}"


def test_toy_blocks_keep_their_order_and_lines():
    first, second = "```python\nsize = 64\n```\n", "```python\nx = size * 2 + 3\n```\n"
    text = f"# Title\n\n{first}\nand then\n\n<!-- toy: size * 2 -> 6; 3 -> 4 -->\n{second}"
    first, second = toy_blocks(text)
    assert first.splitlines()[3] == "size = 64"
    assert second.splitlines()[10] == "x = 6 + 4"


def test_blocks_that_run_alone_see_nothing_of_each_other():
    with pytest.raises(NameError, match="size"):
        exec(one_by_one(["size = 64\n", "size + 1\n"], "README.md"), {})


def test_toy_comment_that_fits_nothing_is_an_error():
    with pytest.raises(ValueError, match="size=64"):
        toy_blocks("<!-- toy: size=64 -> size=8 -->\n```python\nx = 1\n```\n")
