"""The list of processors for tests: the shipped files, a small register in their place, and what a reader of a file sees."""

from __future__ import annotations

import html
import re
from datetime import date
from functools import cache
from typing import Any

import pypdfium2

from lethe.accountability.processing_record.view import Sources
from lethe.accountability.processor_list.model import ProcessorList, list_of
from lethe.catalog.disclosure import Disclosure, load_disclosure
from lethe.catalog.load import load_catalog
from lethe.catalog.model import Catalog
from lethe.policy.load import load_policies
from lethe.policy.model import PolicyVersion
from lethe.processors.load import load_register
from lethe.processors.model import Register
from lethe.settings import SHIPPED, catalog_dir

DAY = date(2026, 11, 28)
BEFORE = date(2021, 6, 1)


@cache
def shipped() -> tuple[Register, PolicyVersion, Catalog, Disclosure]:
    """What the shipped list is made from."""
    return load_register(SHIPPED), load_policies(SHIPPED).in_force(DAY), load_catalog(catalog_dir(SHIPPED)), load_disclosure(SHIPPED)


def listed(register: Register | None = None, *, as_of: date = DAY, since: date | None = None, **policy: Any) -> ProcessorList:
    """The list of a register, the shipped one when None, under the shipped policy with changes."""
    own, version, catalog, disclosure = shipped()
    return list_of(register or own, version.model_copy(update=policy), catalog, disclosure, as_of, since)


def sources(register: Register | None = None, *, as_of: date = DAY, **policy: Any) -> Sources:
    """What a record of processing is made from."""
    own, version, catalog, disclosure = shipped()
    return Sources(register_=register or own, policy=version.model_copy(update=policy), catalog=catalog, disclosure=disclosure, as_of=as_of)


def text_of(name: str, content: bytes) -> str:
    """What somebody reads in a file, white space made one; a text that is broken over lines in a picture or on paper is put together."""
    if name.endswith(".pdf"):
        document = pypdfium2.PdfDocument(content)
        text = " ".join(page.get_textpage().get_text_range() for page in document)
        document.close()
    else:
        text = content.decode("utf-8-sig")
        if name.endswith(".html"):
            text = html.unescape(re.sub(r"<style>.*?</style>|<[^>]+>", " ", text, flags=re.DOTALL))
    return re.sub(r"\s+", " ", text.replace("\ufffe", "-"))
