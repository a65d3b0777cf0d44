"""The record of processing activities (GDPR Article 30), as controller and as processor, in the fields of the CNIL's template. Pure."""
