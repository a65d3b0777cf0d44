"""Somebody of the demo asks for their data: who that is, and what came of it. Nobody's address is printed."""

from __future__ import annotations

import email
import email.policy
import re
import urllib.request
from pathlib import Path

import psycopg

from demo.home import Home

_SOMEBODY = """
SELECT u.email FROM app.users u JOIN app.tenants t ON t.owner_user_id = u.id
JOIN app.support_threads s ON s.opened_by = u.id JOIN app.support_messages m ON m.thread_id = s.id AND m.author_id IS DISTINCT FROM u.id
WHERE u.removed_at IS NULL AND EXISTS (SELECT FROM app.page_views v WHERE v.user_id = u.id)
GROUP BY u.id, u.email ORDER BY count(*) DESC, u.id LIMIT 1
"""
"""The owner of a tenant who wrote to support most, and was answered: something of every kind, some of it shared with others."""


class NobodyThere(LookupError):
    """The demo's data has nobody who could ask."""


def somebody(database: str) -> str:
    """The address of the person who asks; `database` is a superuser's libpq URL of database `spotrak`."""
    with psycopg.connect(database) as connection:
        row = connection.execute(_SOMEBODY).fetchone()
    if row is None:
        raise NobodyThere("no owner of a tenant wrote to support")
    return str(row[0])


def newest_mail(home: Home, request: str, kind: str = "bundle_ready") -> Path:
    """The newest mail of that kind about a request that the demo's mail server kept. Raises NobodyThere when there is none."""
    found = sorted(home.mail.glob(f"*{request}.{kind}.*.eml"))
    if not found:
        raise NobodyThere(f"no mail about {request} in {home.mail}")
    return found[-1]


def fetch(mail: Path, folder: Path) -> list[Path]:
    """What lies behind the links of a mail, fetched as its reader would; the files, readable by their owner only."""
    text = email.message_from_bytes(mail.read_bytes(), policy=email.policy.default).get_content()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = []
    for link in re.findall(r"https?://\S+", text):
        name = re.search(r"/(lethe-R-[0-9A-Z-]+-\d+\.zip)\?", link)
        if name is None:
            continue
        path = folder / name[1]
        with urllib.request.urlopen(link, timeout=60) as answer, path.open("wb") as file:
            path.chmod(0o600)
            while piece := answer.read(1 << 20):
                file.write(piece)
        found.append(path)
    return found
