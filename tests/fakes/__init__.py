"""The outside world, for tests: real servers on real sockets, with a memory and a dial."""
