"""The Python blocks of the documents, executed as a reader would: in order, in one fresh process per document.

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


def toy_script(text: str) -> str:
    """The Python blocks of a Markdown document at toy size, each on the lines that it has in the document."""
    script = ""
    for match in BLOCK.finditer(text):
        code = match["code"]
        for replacement in filter(str.strip, (match["toy"] or "").split(";")):
            old, new = (part.strip() for part in replacement.split("->"))
            if old not in code:
                raise ValueError(f"toy: {old!r} does not occur in the block after it; it reads\n{code}")
            code = code.replace(old, new)
        script += "\n" * (text.count("\n", 0, match.start("code")) - script.count("\n")) + code
    return script


@pytest.mark.parametrize("name", [name for name in ("README.md", "CONTRIBUTING.md") if (REPOSITORY / name).exists()])
def test_document_runs(name, tmp_path):
    script = toy_script((REPOSITORY / name).read_text(encoding="utf-8"))
    assert script.strip(), f"{name} has no Python block"
    (tmp_path / name).with_suffix(".py").write_text(script, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, Path(name).with_suffix(".py")],
        cwd=tmp_path,
        env=os.environ | {"PDEJAX_TOY": "1", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, f"{name}, with the line numbers of the document:\n{result.stderr[-4000:]}"


def test_toy_script_keeps_order_lines_and_names():
    first, second = "```python\nsize = 64\n```\n", "```python\nx = size * 2 + 3\n```\n"
    text = f"# Title\n\n{first}\nand then\n\n<!-- toy: size * 2 -> 6; 3 -> 4 -->\n{second}"
    script = toy_script(text)
    assert script.splitlines()[3] == "size = 64"
    assert script.splitlines()[10] == "x = 6 + 4"
    names = {}
    exec(script, names)
    assert names["x"] == 10


def test_toy_comment_that_fits_nothing_is_an_error():
    with pytest.raises(ValueError, match="size=64"):
        toy_script("<!-- toy: size=64 -> size=8 -->\n```python\nx = 1\n```\n")
