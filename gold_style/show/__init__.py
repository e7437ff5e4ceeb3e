"""From numbers to something to look at: terminal tables, report.html of a run, compare.html of many; run files only."""
