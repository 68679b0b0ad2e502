"""One module per stage: tables in, tables and a manifest out."""
