"""What benchmarks and campaigns share: worker processes, locks, files of specifications, what a result rests on."""
