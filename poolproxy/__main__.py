"""`python -m poolproxy` is the command `poolproxy`."""

from poolproxy.cli import main

if __name__ == "__main__":
    main()
