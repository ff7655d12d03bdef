"""Asks the URLs of the arguments, after a timeout in seconds. Prints a line for each: `body` in hexadecimal, or `error`."""

import sys

import requests

timeout, *urls = sys.argv[1:]
for url in urls:
    try:
        print("body", requests.get(url, timeout=float(timeout)).content.hex())
    except (requests.RequestException, ValueError) as error:
        print("error", type(error).__name__)
