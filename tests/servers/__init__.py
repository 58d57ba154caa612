"""The tests with a server that this machine does not have, in a root file system of Debian's packages."""
