"""The register of the companies that receive data (GDPR Articles 28 and 30): who, since when, under which agreement. Pure but for the reading."""
