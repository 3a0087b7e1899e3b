"""`python -m firsthour`."""

from firsthour.cli.app import main

if __name__ == "__main__":
    main()
