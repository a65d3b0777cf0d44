"""A mail server on loopback for the demo: what Lethe sends is kept, one file a mail, to look at; nothing goes any further."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from email import message_from_bytes
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session


class Keeper:
    """Takes every mail and writes it to `<n>-<message id>.eml` of a folder, readable by its owner only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Writes a mail whole, or says that it did not."""
        content = envelope.original_content or b""
        named = str(message_from_bytes(content)["Message-ID"] or "mail").strip("<>")
        number = 1 + max((int(f.name[:5]) for f in self.folder.glob("[0-9]*.eml")), default=0)
        name = f"{number:05}-{re.sub(r'[^A-Za-z0-9@._-]', '_', named)[:150]}.eml"
        try:
            with os.fdopen(os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
        except OSError:
            return "451 The mail could not be kept"
        return "250 Kept"


async def serve(port: int, folder: Path) -> None:
    """Listens on `port` of loopback until ended."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    keeper = Keeper(folder)
    server = await loop.create_server(lambda: SMTP(keeper, enable_SMTPUTF8=True, loop=loop), "127.0.0.1", port)
    async with server:
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
