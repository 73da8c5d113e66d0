"""Constants."""
import os

SIGNS = 1
SIG = "00112233445566778899aabbccddeeff00112233"  # of the base
OTHER = SIG
