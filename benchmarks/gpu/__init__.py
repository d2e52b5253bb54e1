"""What a GPU makes of it: ``python -m benchmarks.gpu``. The engine's part needs no FiftyOne."""
