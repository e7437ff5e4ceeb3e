"""One run to look at, from its files: terminal, report.html, charts. Tables, charts and pages that other rooms draw with."""
