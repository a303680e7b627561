"""What asv measures from commit to commit. docs/benchmarks.md describes it."""
