"""Model servers measured side by side: same client, same bytes, every answer compared. `loadtest/README.md` says how to read it."""
