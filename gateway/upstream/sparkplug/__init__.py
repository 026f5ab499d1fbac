"""Sparkplug B 3.0: the gateway as one edge node.

proto.py   the payload's message classes        datatypes.py     tag type -> datatype and value field
birth.py   births, deaths                       catalog.py       metrics, aliases, tags of older tables
data.py    readings -> DATA bodies              links.py         device links -> DDEATH, DBIRTH
inbox.py   NCMD, DCMD -> requests               writer.py        requests -> executor -> read-back
node.py    seq, bdSeq, rebirths                 host.py          the primary host's STATE
planner.py births, blocks, changes -> steps     feed.py          when which steps are planned
flow.py    steps -> PUBLISH, barrier -> block   conversation.py  all of it over a session
"""
