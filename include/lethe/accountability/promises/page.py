"""The page."""
from lethe.accountability.promises.model import PromiseReport
def page(report: PromiseReport) -> str:
    return ""
