"""The connection to LXD or Incus, through pylxd; blocks, so it is used in threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import requests
from pylxd import Client
from pylxd.client import DEFAULT_CERTS, get_session_for_url
from pylxd.exceptions import ClientConnectionFailed, LXDAPIException

from hotplugd.model.ports import Refused, ServerError, ServerInfo, Unreachable
from hotplugd.model.server_traits import NO_TRAITS, ServerTraits
from hotplugd.server.certificates import pinned
from hotplugd.server.decode import process
from hotplugd.server.errors import NOT_LXD, failure, no_answer, short
from hotplugd.server.events import Identity
from hotplugd.server.traits import FOLDERS, traits_of
from hotplugd.server.transport import Http, Room
from hotplugd.server.unix_socket import Begun

T = TypeVar("T")

# Seconds: to connect, between two bytes of an answer.
CONNECT: Final = 5.0
READ: Final = 30.0
_CONNECTIONS: Final = 100
_LAST_STATUS: Final = 599
# What a server says of itself, and what it is taken for where it does not.
_SAID: Final = (("server", "lxd"), ("server_version", "?"))


class Connection:
    """One server's API as pylxd's low-level tree.

    longest   seconds that any one request may take
    projects  those that our certificate is restricted to; None for all
    """

    def __init__(self, address: str, longest: float) -> None:
        self.address = address
        self.projects: Sequence[str] | None = None
        self._longest = longest
        self._client: Any = None
        self._session: Http | None = None
        self._room = Room()
        self._info: ServerInfo | None = None

    @property
    def tree(self) -> Any:
        """The API's endpoints. Connects where that was not done."""
        if self._client is None:
            self._connect()
        return self._client.api

    @property
    def traits(self) -> ServerTraits:
        """What this server does that not every server does."""
        return self._info.traits if self._info is not None else NO_TRAITS

    def guarded(self, work: Callable[[], T]) -> T:
        """Call `work`, which makes requests, and return its result. Raises only ServerError."""
        try:
            return work()
        except requests.Timeout as error:
            raise Unreachable(f"{self.address} has not answered within {READ:.0f} s") from error
        except requests.exceptions.ContentDecodingError as error:
            raise Unreachable(f"{self.address} answered {NOT_LXD}: {short(error)}") from error
        except (requests.RequestException, ClientConnectionFailed) as error:
            # pylxd raises an exception of its own in place of the cause.
            if isinstance(error, requests.exceptions.SSLError) or isinstance(
                error.__context__, requests.exceptions.SSLError
            ):
                known = pinned(self.address, Path(DEFAULT_CERTS.cert))
                raise Unreachable(
                    f"{self.address} shows another certificate than the one in {known}; "
                    f"if it was renewed, put the new one there, as `lxc remote add` does: {short(error)}"
                ) from error
            raise Unreachable(no_answer(self.address, error)) from error
        except LXDAPIException as error:
            raise failure_of(error) from error
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise Unreachable(f"{self.address} answered {NOT_LXD}: {short(error)}") from error
        finally:
            self._room.leave()

    def begin(self, endpoint: Any, method: str, **request: Any) -> Begun | None:
        """Send a request to one of the tree's endpoints. See `Http.begin`."""
        if self._session is None:
            return None
        return self._session.begin(method, endpoint._api_endpoint, **request)  # noqa: SLF001

    def connect(self) -> ServerInfo:
        """Connect, and return what the server says of itself. Raises Unreachable, or Refused (no trust)."""
        self._info = self._connect()
        return self._info

    def member(self, location: str = "") -> str:
        """The name of the member that we speak to, empty without a cluster.

        location  where an instance is, which tells that the server has become a member of a cluster
        """
        if self._info is None or (location and not self._info.member):
            self._info = self._connect()
        return self._info.member

    def identity(self) -> Identity | None:
        """How to speak to a server over https; None for a socket. Raises Refused without its certificate."""
        if self.address.startswith("/"):
            return None
        return Identity(pinned(self.address, Path(DEFAULT_CERTS.cert)), *DEFAULT_CERTS)

    def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            self._session.close()

    def _connect(self) -> ServerInfo:
        socket = self.address.startswith("/")
        if socket and not Path(self.address).exists():
            # pylxd would take the missing path for a URL.
            raise Unreachable(f"LXD or Incus is not running: there is no socket {self.address}")
        session = Http(self.address if socket else "", _CONNECTIONS, self._longest, self._room)
        if not socket:
            session.verify, session.cert = (
                str(pinned(self.address, Path(DEFAULT_CERTS.cert))),
                tuple(DEFAULT_CERTS),
            )
            by_pin = get_session_for_url(self.address, verify=session.verify)
            session.mount_https(self.address, by_pin.get_adapter(self.address))
        client = Client(endpoint=self.address, session=session, timeout=(CONNECT, READ))
        info = client.host_info
        if info.get("auth") != "trusted":
            raise Refused(
                f"{self.address} does not trust us; add our certificate, or run as root on its host"
            )
        environment = info["environment"]
        before, self._client, self._session = self._session, client, session
        if before is not None:
            # Otherwise its connections would stay open until a garbage collection.
            before.close()
        self.projects = _projects(client.api)
        clustered = environment.get("server_clustered", False)
        software, version = (str(environment.get(*each)) for each in _SAID)
        return ServerInfo(
            self.address,
            software,
            version,
            str(environment.get("server_name", "")) if clustered else "",
            traits_of(software, version, frozenset(info["api_extensions"])),
            process(environment.get("server_pid")) or 0,
            FOLDERS.get(software, ()),
        )


def _projects(api: Any) -> list[str] | None:
    """The projects that a restricted certificate may see; None for one that may see all."""
    try:
        api.instances.get(params={"all-projects": "true"})
    except LXDAPIException as error:
        if error.response.status_code != requests.codes.forbidden:
            raise
        return sorted(
            str(each["name"]) for each in api.projects.get(params={"recursion": 1}).json()["metadata"]
        )
    return None


def failure_of(error: Any) -> ServerError:
    """What an error of pylxd's (LXDAPIException) means."""
    return failure(_status_of(error.response), said_by(error))


def _status_of(response: Any) -> int:
    """The status of an error. A server that answers a wait has sent 200 before it knew how that ends; its
    error is in the answer then (LXD and Incus: operations.go, operationWaitGet; response, SmartError).
    """
    status = int(response.status_code)
    if status >= requests.codes.bad_request:
        return status
    try:
        found = response.json()
        if found["type"] != "error" or not found["error"]:
            return status
    except (ValueError, KeyError, TypeError, RecursionError):
        return status
    said = found.get("error_code")
    in_range = isinstance(said, int) and requests.codes.bad_request <= said <= _LAST_STATUS
    return said if in_range else int(requests.codes.internal_server_error)


def said_by(error: Any) -> str | None:
    """What the server gives as the reason of an API error; None where it is not in LXD's words.

    Not `str(error)`, which raises whatever it meets in an answer of another shape.
    """
    try:
        found = error.response.json()["error"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) else None
