"""The smallest agent in Python: one JSON object per line in and out, no packages. Its result is its parameters."""
import json
import sys


def say(**line):
    print(json.dumps(line), flush=True)


for text in sys.stdin:
    line = json.loads(text)
    if line["op"] == "task":
        say(op="progress", text="echoing")
        say(op="result", id=1, value=line["params"])
    elif line["op"] == "message" and line["kind"] == "request":
        say(op="reply", id=2, correlationId=line["id"], body=line["body"])
    elif line["op"] == "shutdown":
        break
