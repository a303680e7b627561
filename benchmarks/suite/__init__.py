"""What asv measures from commit to commit: a module an operation. See docs/benchmarks.md."""
