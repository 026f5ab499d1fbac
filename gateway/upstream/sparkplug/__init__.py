"""Sparkplug B 3.0: the gateway as one edge node.

proto.py         the payload's message classes      datatypes.py  tag type -> datatype and value field
kernels.py       DATA metrics -> bytes              catalog.py    metrics, aliases, tags of older tables
birth.py         births, deaths                     data.py       readings -> DATA bodies
links.py         device links -> DDEATH, DBIRTH     inbox.py      NCMD, DCMD -> requests
node.py          seq, bdSeq, rebirths               host.py       the primary host's STATE
flow.py          blocks -> steps -> barrier         conversation.py  all of it over a session
"""
