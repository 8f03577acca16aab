"""Quality of maps: against known surfaces, against the same head scanned again, and within their data set."""
