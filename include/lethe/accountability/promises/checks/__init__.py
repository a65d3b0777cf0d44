"""The checks that promises may name: an explicit list, so that a check which is taken out of it shows as missing."""

from __future__ import annotations

from collections.abc import Mapping

from lethe.accountability.promises.checks import answers, archive, audit, bundles, holds, ledger, register, requests, roles, runs, text
from lethe.accountability.promises.look import Check

CHECKS: Mapping[str, Check] = {
    "text-as-published": Check(read=text.as_published, live=True, says="The text has the digest that was recorded for it."),
    "policy-in-evidence": Check(
        read=runs.policy_in_evidence, live=False, says="The last nightly run names the version in force and the text's digest."
    ),
    "ledger-sound": Check(
        read=ledger.sound, live=True, says="The ledger is walked, and compared with its kept heads and with the tables that it tells of."
    ),
    "coverage": Check(read=runs.coverage, live=False, says="The last nightly run met no table, column or bucket that nobody mapped."),
    "drift": Check(read=audit.drift, live=False, says="The last audit found no difference between the catalog and the live stores."),
    "needed-data": Check(
        read=audit.needed_data, live=False, says="The last audit found no personal column without purpose, role, category and rule."
    ),
    "purposes-named": Check(
        read=audit.purposes_named, live=False, says="The last audit found no dataset without its purposes, and none undisclosed."
    ),
    "register": Check(read=register.processors, live=False, says="The last list of processors found nothing wrong with the register."),
    "agreements": Check(read=register.agreements, live=False, says="The last list of processors found every agreement in force."),
    "archive-sound": Check(read=archive.sound, live=True, says="The archive's bucket is listed and compared with its manifests."),
    "archive-apart": Check(
        read=archive.apart, live=True, says="The archive has credentials and a bucket of its own, and no other role reads its manifests."
    ),
    "archive-readings": Check(
        read=archive.readings, live=False, says="No archived row was given out without a record of its reading before."
    ),
    "export-ready": Check(
        read=bundles.ready, live=True, says="A person's data can be found and bundled now: every statement is planned on the live schema."
    ),
    "bundle-judged": Check(
        read=bundles.judged, live=False, says="The last bundle agreed with an independent count, and none was given out without one."
    ),
    "holds-reviewed": Check(read=holds.reviewed, live=True, says="Every hold and restriction has a day of review to come."),
    "intake-works": Check(
        read=requests.intake_works, live=True, says="Requests are taken in: the DAG is there, and no file lies there that was opened."
    ),
    "requests-agree": Check(read=requests.agree, live=True, says="Requests and the decisions on who asks are what the ledger says."),
    "proofs-left": Check(
        read=requests.proofs_left, live=True, says="No proof of identity lies there for a request that is decided, or for none."
    ),
    "answers-name-the-authority": Check(
        read=answers.name_the_authority, live=True, says="Refusals and partial answers are rendered, and name the authority and the court."
    ),
    "roles": Check(read=roles.least, live=True, says="The database roles can do what they must and no more, as the databases say now."),
}
