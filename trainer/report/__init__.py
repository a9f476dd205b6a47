"""The evaluation report: from what was asked and said to Markdown, one HTML file and its plots."""
