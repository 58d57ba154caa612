"""Shows phones and containers in a virtual machine: `python -m tests.vm.show`; see `tests.demo_phones`."""

from __future__ import annotations

import sys
from signal import Signals
from typing import Final

from tests.support.lab.stop import clean_up_when_told_to_end
from tests.vm.guest import RESULTS, boot
from tests.vm.image import image

_SHOW: Final = "python -m tests.demo_phones >/dev/ttyS1 2>&1"
_DEADLINE: Final = 240.0


def main() -> int:
    """Boot, show, switch off. Returns the exit code of the show, or 1 where the guest never came to it."""
    print("a virtual machine with Debian's kernel, which has a USB bus, starts …", flush=True)
    folder = RESULTS / "show"
    clean_up_when_told_to_end(Signals.SIGINT, Signals.SIGTERM, Signals.SIGHUP)
    try:
        with image() as made:
            outcome = boot(made, folder, ("sh", "-c", _SHOW), deadline=_DEADLINE)
    except KeyboardInterrupt:
        print("stopped; nothing is left running", file=sys.stderr)
        return 130
    if outcome.code is None:
        print(f"make demo-phones: {outcome.problem}; its logs are in {folder}", file=sys.stderr)
        return 1
    return outcome.code


if __name__ == "__main__":
    sys.exit(main())
