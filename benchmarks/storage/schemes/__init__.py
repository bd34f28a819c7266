"""One file per scheme, a column of the table; `benchmarks.storage.columns` puts them in order."""
