"""The SQL of the notifier: clocks, pages, attempts, and the availability of people."""
