"""What comes in and what is kept: models, texts, tasks, ids, records and the DuckDB store."""
