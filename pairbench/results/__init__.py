"""What stored records say: statistics, rankings, verdicts, tables, plots and the HTML report."""
