"""The notifier: keeps the response clock of every lead and sends pages until the first touch."""
