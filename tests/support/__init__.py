"""What the tests stand on: a private FiftyOne, its App, a browser."""
