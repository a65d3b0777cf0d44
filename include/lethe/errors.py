"""Errors are named for the false claim they prevent, and say what to do next. They never carry personal data."""

from __future__ import annotations


class LetheError(Exception):
    """Base of every error that an operator is meant to read: what is wrong, then what to do about it."""

    def __init__(self, problem: str, *, fix: str = "") -> None:
        self.problem = problem
        self.fix = fix
        super().__init__(f"{problem} {fix}".strip())


class InvalidFile(LetheError):
    """A policy or catalog file cannot be taken as it stands; the text carries file, line and the fix."""


class UnknownName(LetheError):
    """A rule, dataset, store or step was named that does not exist."""


class NotInForce(LetheError):
    """No policy version is in force on the date asked."""


class Unreachable(LetheError):
    """A database or object store did not answer; nothing may be claimed about it."""


class Uncountable(LetheError):
    """A set could not be counted: its number is unknown, which is not zero."""


class PartialView(Uncountable):
    """A query could see only part of a table, so its count would be a hopeful one."""


class BadAsOf(LetheError):
    """`as_of` has no time zone or lies in the future."""


class NotApproved(LetheError):
    """A plan goes beyond its guard and no named person approved it."""


class StoreBusy(LetheError):
    """Another run holds the lease of a store."""


class WrongCount(LetheError):
    """What was deleted is not what the batch says; never retried."""


class EvidenceRefused(LetheError):
    """A record would put personal data, or something that is not evidence, where nothing can ever be taken out."""


class HoldRefused(LetheError):
    """A hold keeps nothing, or nobody answers for it."""


class PlanAltered(LetheError):
    """The stored plan is not the plan of that digest."""


class OutOfTurn(LetheError):
    """A run would go on to a state that its present one does not lead to."""


class ObjectErrors(LetheError):
    """An object store answered 200 and refused some of the objects: those are still there."""


class StillLocked(LetheError):
    """Rows or a table stayed locked by somebody else: what is due there was not deleted."""


class StatementEnded(LetheError):
    """A statement was ended before it was done, by its time limit or by a person: its batch did not happen."""


class StoreFull(LetheError):
    """A database has no room left to work: its batch did not happen."""


class InDoubt(LetheError):
    """A database cannot say whether a batch committed: its rows are neither deleted nor kept, but unknown."""


class ReportNotWritten(LetheError):
    """A report is not on disk, whole."""


class Drifted(LetheError):
    """The catalog describes a database that is not the one that is there: a plan on it would rest on something untrue."""


class PurgeFailed(LetheError):
    """Steps of a group were not finished: what is due in them may still be there."""


class PurgeHindered(PurgeFailed):
    """Every unfinished step met a lock or a store that did not answer: the same purge may succeed a little later."""


class NotClean(LetheError):
    """A run is over and not clean: due rows are left, or it is not known whether any are."""


class MissedRun(LetheError):
    """The nightly run did not come, so silence would be read as health."""


class AuditFailed(LetheError):
    """The audit found what the nightly runs do not see: drift, or rows that should be gone."""


class NotArchivable(LetheError):
    """A column, bucket or setting cannot be trusted to keep what a law needs: nothing of it was deleted."""


class ArchiveDiffers(LetheError):
    """What the object store gives back is not what was written: the rows stay where they are."""


class ReadingRefused(LetheError):
    """The archive was not read: no reason was given, or the role may not."""


class DeadlineUnknown(LetheError):
    """A day or instant cannot be counted to: the calendar does not know the year, or there is no local day to count from."""


class DeadlineMissed(LetheError):
    """Replies are due and not given: no report may say that people are answered in time."""


class IdentifierRefused(LetheError):
    """What was given as an address or account key names nobody. The text never repeats it."""


class RequestRefused(LetheError):
    """A request of a person cannot be opened, decided or read like that: what it says would not be what happened."""


class ProofNotNeeded(RequestRefused):
    """A proof of identity came after the decision, or to a question: keeping it would keep what the policy says is gone."""


class IntakeRefused(LetheError):
    """A file of requests was not taken, none of it: some person's request would be missing, or another's. `entry` is counted from 1."""

    def __init__(self, problem: str, *, fix: str = "", entry: int | None = None) -> None:
        self.entry = entry
        super().__init__(problem, fix=fix)


class IntakeUnfinished(LetheError):
    """Files of requests, or proofs of decided requests, still lie where they should be gone."""


class Unopenable(LetheError):
    """Sealed identifiers do not open: with another key, or after damage, nothing may be said about whom they name."""


class NotEncrypted(LetheError):
    """An object does not lie encrypted as the policy promises."""


class BundleDiffers(LetheError):
    """A bundle is not what an independent count says the person's data is, or not what was written: it is not given out."""


class ExportFailed(LetheError):
    """Some requests of a run were not answered: the run must not look as if they were."""


class NoAddress(LetheError):
    """A request has no e-mail address: nobody was answered by mail."""


class AnswerRefused(LetheError):
    """A mail server refused an answer for good: nobody got it, and trying again would not help."""


class AnswerInDoubt(LetheError):
    """It is not known whether an answer was sent: it is neither sent nor to be sent again."""


class AmbiguousPerson(LetheError):
    """Identifiers do not name one person: whoever they are given to could get somebody else's data."""


class MissingFile(LetheError):
    """A person's file is not where its row says: without it nothing is complete."""


class PromiseBroken(LetheError):
    """A sentence that people were promised has a control that fails, is stale or was lost: the text would claim what nobody can show."""


class AttestationRefused(LetheError):
    """Nobody vouches for that, or not for so long: it would look attested and would not be."""


class BeforeRegister(LetheError):
    """The register of processors says nothing of that day: an empty list would claim that nobody received data."""


class UntrueList(LetheError):
    """A list of processors says what is not so, or the register behind it does: it is given to nobody."""
