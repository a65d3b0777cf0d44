"""A Ceph object gateway of one node on loopback, for the tests of what moto only pretends: signatures, versions, locks.

Ceph keeps all data in memory. Its daemons are children of the process that starts them and die with it, whatever kills
it. Nothing is installed here: `available()` says what is missing. Debian's packages are enough.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

from demo.postgres import free_port

PACKAGES = ("ceph-mon", "ceph-osd", "ceph-mgr", "radosgw", "ceph-common")
_PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "ceph-mgr", "radosgw", "radosgw-admin", "monmaptool", "setpriv")
_PATIENCE = 90.0  # seconds that one daemon may take to come up; 12 s for all of them is usual

# One replica, no authentication between the daemons, few placement groups: it lives for minutes, on loopback.
_CONFIGURATION = Template("""\
[global]
fsid = $fsid
mon host = v1:127.0.0.1:$monitor_port
mon initial members = one
public network = 127.0.0.0/8
auth cluster required = none
auth service required = none
auth client required = none
keyring = $folder/keyring
log file = $folder/$$name.log
admin socket = $folder/$$name.asok
pid file = $folder/$$name.pid
run dir = $folder
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 4294967296
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
[mon.one]
mon data = $folder/mon
[mgr.one]
mgr data = $folder/mgr
[osd.0]
osd data = $folder/osd
[client.gateway]
rgw data = $folder/gateway
# Without tcp_nodelay a small answer waits 40 ms for the acknowledgement of its headers.
rgw frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw crypt require ssl = false
rgw crypt s3 kms backend = testing
rgw crypt s3 kms encryption keys = lethe-test=$kms_key
""")


def available() -> str | None:
    """None when a gateway can be started here; else the reason why not, with what to install."""
    missing = [p for p in _PROGRAMS if shutil.which(p) is None]
    if missing:
        return f"no Ceph gateway here: {', '.join(missing)} not found (Debian: apt-get install {' '.join(PACKAGES)})"
    if os.geteuid() != 0:
        return "no Ceph gateway here: Debian's Ceph daemons are started by root only"
    return None


class CephFailed(RuntimeError):
    """A daemon ended or did not come up; the text names it and quotes the end of its output."""


@dataclass(kw_only=True)
class CephGateway:
    """One gateway with its own monitor, manager and store, in `folder`. Free ports are taken, so several can run."""

    folder: Path
    port: int = field(default_factory=free_port)
    monitor_port: int = field(default_factory=free_port)
    _daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict, init=False)

    @property
    def endpoint(self) -> str:
        """The gateway's URL."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Makes the cluster and waits until the gateway answers. Raises CephFailed; then nothing is left running."""
        try:
            self._make()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends every daemon, the gateway first. The data was in memory and is gone."""
        for name in reversed(list(self._daemons)):
            self._end(name)

    def start_gateway(self) -> None:
        """Starts the gateway alone, over the data that is there; nothing when it runs already."""
        if "gateway" in self._daemons:
            return
        self._start("gateway", "radosgw", "-n", "client.gateway")
        self._wait("gateway", self._answers)

    def stop_gateway(self) -> None:
        """Ends the gateway alone: clients see an object store that stopped answering. The data stays.

        It is asked to end, not killed: the store waits half a minute for the watches of a killed gateway.
        """
        gateway = self._daemons.get("gateway")
        if gateway is not None:
            gateway.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                gateway.wait(timeout=20)
        self._end("gateway")

    def new_user(self) -> tuple[str, str]:
        """A new user of the gateway; its access key and secret key."""
        name = f"u{uuid.uuid4().hex[:10]}"
        access, secret = secrets.token_hex(10), secrets.token_hex(20)
        self._run(
            "radosgw-admin", "user", "create", f"--uid={name}", f"--display-name={name}", f"--access-key={access}", f"--secret-key={secret}"
        )
        return access, secret

    def _make(self) -> None:
        for name in ("mon", "osd", "mgr", "gateway"):
            (self.folder / name).mkdir(parents=True)
        fsid = str(uuid.uuid4())
        values = {"fsid": fsid, "folder": self.folder, "port": self.port, "monitor_port": self.monitor_port}
        (self.folder / "ceph.conf").write_text(_CONFIGURATION.substitute(values, kms_key="bGV0aGUtdGVzdC1rZXktb2YtMzItYnl0ZXMtb25seSE="))
        (self.folder / "keyring").touch()
        monitors = str(self.folder / "monmap")
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "one", f"[v1:127.0.0.1:{self.monitor_port}]", monitors)
        self._run("ceph-mon", "-i", "one", "--mkfs", "--monmap", monitors)
        self._start("mon", "ceph-mon", "-i", "one")
        self._start("mgr", "ceph-mgr", "-i", "one")
        osd_id = str(uuid.uuid4())
        self._wait("mon", lambda: self._ask("osd", "new", osd_id) is not None)  # doing it twice changes nothing
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd_id)
        self._start_osd()
        self.start_gateway()

    def _start_osd(self) -> None:
        """An OSD that starts before the monitor has published its map ends with `wrong fsid`: it is started again, as long as it may take."""
        end = time.monotonic() + _PATIENCE
        while True:
            self._start("osd", "ceph-osd", "-i", "0")
            try:
                return self._wait("osd", self._osd_is_up)
            except CephFailed:
                if time.monotonic() > end or "wrong fsid" not in self._last_words("osd"):
                    raise
                self._end("osd")

    def _osd_is_up(self) -> bool:
        answer = self._ask("osd", "stat", "--format=json")
        return answer is not None and bool(json.loads(answer)["num_up_osds"] == 1)

    def _ask(self, *arguments: str) -> str | None:
        """The monitor's answer; None when it has none: one that is still electing itself says EPERM."""
        try:
            return self._run("ceph", *arguments)
        except CephFailed:
            return None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.endpoint, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def _start(self, name: str, program: str, *arguments: str) -> None:
        # -f keeps it in the foreground; --pdeathsig ends it when we die, so that no test can leave a cluster behind.
        command = ["setpriv", "--pdeathsig", "KILL", program, "-f", "-c", str(self.folder / "ceph.conf"), *arguments]
        with (self.folder / f"{name}.out").open("ab") as output:
            self._daemons[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)

    def _wait(self, name: str, is_up: Callable[[], bool]) -> None:
        """Asks until `is_up()`; CephFailed when the daemon ends first or the time is over."""
        end = time.monotonic() + _PATIENCE
        while not is_up():
            if self._daemons[name].poll() is not None or time.monotonic() > end:
                raise CephFailed(f"Ceph's {name} did not come up: {self._last_words(name)}")
            time.sleep(0.1)

    def _end(self, name: str) -> None:
        daemon = self._daemons.pop(name, None)
        if daemon is not None:
            daemon.kill()  # nothing is worth flushing: the data is in memory
            daemon.wait()

    def _last_words(self, name: str) -> str:
        return (self.folder / f"{name}.out").read_text(errors="replace")[-600:]

    def _run(self, program: str, *arguments: str) -> str:
        environment = {**os.environ, "CEPH_CONF": str(self.folder / "ceph.conf")}
        done = subprocess.run(
            [program, *arguments], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
        if done.returncode:
            raise CephFailed(f"{program} {arguments[0]} failed: {done.stderr[-600:]}")
        return done.stdout
