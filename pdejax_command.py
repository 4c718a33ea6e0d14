"""The command `pdejax`. It answers Ctrl-C and SIGTERM from its first moment: what it imports takes seconds to load."""

import os
import signal
from types import FrameType


def main() -> int:
    """Runs `pdejax.cli.main`, which puts its own handlers in the place of this one while a command runs."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    from pdejax.cli import main

    return main()


def _leave(signal_number: int, frame: FrameType | None) -> None:
    # Not by an exception: inside an import many packages catch one, or turn it into another.
    os.write(2, b"pdejax: interrupted.\n")
    os._exit(130)
