"""The one calendar: business days, months, elapsed hours, days of notice and periods of rows. Source: PROMISES, "Time". Pure.

`business` knows on which days people work, `counting` counts from a day or an instant, `dates` names every date with its rule.
The periods are the policy's (`lethe.policy.terms`); the zone is an argument, since a day is a local date and never a UTC one.
"""

from lethe.deadlines.business import FIRST_YEAR, LAST_YEAR, business_days_after, is_business_day, next_business_day
from lethe.deadlines.counting import PARIS, Due, RequestDue, after, due_after, hours_after, last_notice, received_on, request_due, row_due

__all__ = [
    "FIRST_YEAR",
    "LAST_YEAR",
    "PARIS",
    "Due",
    "RequestDue",
    "after",
    "business_days_after",
    "due_after",
    "hours_after",
    "is_business_day",
    "last_notice",
    "next_business_day",
    "received_on",
    "request_due",
    "row_due",
]
