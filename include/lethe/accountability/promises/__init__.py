"""The promise report: the published text, sentence by sentence, each with what keeps it, its last evidence and a verdict."""

from lethe.accountability.promises.assess import assess, known
from lethe.accountability.promises.model import ControlVerdict, PromiseReport, PromiseVerdict, Verdict
from lethe.accountability.promises.report import make_report

__all__ = ["ControlVerdict", "PromiseReport", "PromiseVerdict", "Verdict", "assess", "known", "make_report"]
