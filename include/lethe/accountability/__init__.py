"""What the company has to be able to show (GDPR Article 5(2)): the list of processors, and the record of processing activities."""
