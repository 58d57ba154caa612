"""python -m hotplugd"""

from hotplugd.cli import main

main()
