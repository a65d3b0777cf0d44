"""Debian's packages that let more tests run: a Ceph gateway, a browser, docker-compose. Installed by `make test` where that is possible.

Elsewhere (no Debian, or not root) the tests that need them are skipped, and the reason is printed here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NEEDED = {
    "ceph-mon": ("ceph-mon", "ceph-osd", "ceph-mgr", "radosgw", "ceph-common"),
    "radosgw": ("radosgw", "ceph-common"),
    "chromium": ("chromium", "fonts-dejavu-core"),
    "docker-compose": ("docker-compose",),
}
"""A program that must be there, and the packages that bring it."""


def missing() -> list[str]:
    """The packages whose program is not on PATH."""
    return sorted({package for program, packages in NEEDED.items() if not shutil.which(program) for package in packages})


def installable() -> str | None:
    """None when packages can be installed here; else the reason why not."""
    if not shutil.which("apt-get"):
        return "this is no Debian"
    if os.geteuid() != 0:
        return "only root can install Debian's packages"
    return None


def install(packages: list[str]) -> None:
    """Installs the packages without asking anything. Raises CalledProcessError when apt-get fails."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    quiet = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300"]
    subprocess.run([*quiet, "update"], check=True, env=environment, stdin=subprocess.DEVNULL)
    subprocess.run(
        [*quiet, "install", "--yes", "--no-install-recommends", *packages],
        check=True,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def main() -> int:
    """Installs what is missing; fails only where the tests that need it are demanded (LETHE_REQUIRE_CEPH)."""
    packages = missing()
    if not packages:
        return 0
    reason = installable()
    if reason:
        print(f"Tests that need {', '.join(packages)} will be skipped: {reason}.")
        return 1 if os.environ.get("LETHE_REQUIRE_CEPH") else 0
    print(f"Debian packages: {', '.join(packages)} ...", flush=True)
    install(packages)
    return 0


if __name__ == "__main__":
    sys.exit(main())
