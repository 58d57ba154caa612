"""Run hotplugd with less time between two looks at everything.

`python -m tests.support.lab.sooner SECONDS RUN`
"""

from __future__ import annotations

import sys

from hotplugd import cli
from hotplugd.app import session


def main() -> None:
    """Change the time, then be the program."""
    seconds, *words = sys.argv[1:]
    vars(session)["_RESYNC"] = float(seconds)
    sys.argv = ["hotplugd", *words[words.index("run") :]]
    cli.main()


if __name__ == "__main__":
    main()
