"""Stage 4: Blocks -> broker, commands <- broker.

upstream.py      one upstream: sessions for as long as it runs, one after the other
session.py       one connection on the event loop: an epoch; connect.py opens it in its own thread
conversation.py  what is said over a session: plain.py (json, columns) or Sparkplug
sender.py        blocks with QoS 1 through window.py; parking.py and suspicion.py for what a broker refuses
payload.py       what a payload format is: json.py, columns.py
commands.py      writes from outside, each in the audit log before and after
"""
