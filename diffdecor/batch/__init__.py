"""Many jobs: a manifest of them, processes that do them, and a ledger of what came of each."""
