"""Report -> terminal table, Markdown, one self-contained HTML file; JSON in and out."""
