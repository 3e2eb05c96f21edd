"""A model agent on the standard library: it gives its task to a model, does what the model asks for, and goes on until the model is done.

The model is reached through the hub at MODEL_URL. No key is in here: the hub adds it outside, and counts what each call costs.
stdin and stdout carry one JSON object a line; what is printed to stderr is the log. Copy this file, and change the tools.
"""
import json
import os
import pathlib
import sys
import threading
import time
import urllib.error
import urllib.request

SYSTEM = """You work alone and unattended on one task. Use the tools to read the input and to keep results.
When the task is done, say in a few sentences what came of it. If it cannot be done, say why."""
MOST_TURNS = 40
MOST_OUTPUT = 8192  # tokens of one answer
MOST_TEXT = 100_000  # characters that one tool may tell the model: more would fill its context
TRIES = 4
IN, OUT = pathlib.Path("in"), pathlib.Path("out")  # below /workspace, where it starts; each file in out/ becomes an artifact


def say(**line):
    print(json.dumps(line), flush=True)


def inside(folder, path):
    """The place of a path below a folder; a model names paths, so one that leads out of it is refused."""
    place = (folder / path).resolve()
    if not place.is_relative_to(folder.resolve()):
        raise ValueError(f"{path} leads out of {folder}/")
    return place


def list_files():
    files = sorted(path for path in IN.rglob("*") if path.is_file())
    return "\n".join(f"{path.relative_to(IN)} {path.stat().st_size}" for path in files) or "there is no input"


def read_file(path):
    with inside(IN, path).open(errors="replace") as file:
        return file.read(MOST_TEXT)


def write_file(path, text):
    place = inside(OUT, path)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return f"kept {path}"


# A name: its function, what it is for, and its arguments, all of them texts.
TOOLS = {
    "list_files": (list_files, "Lists the files of the input with their sizes in bytes.", {}),
    "read_file": (read_file, "Reads one file of the input as text.", {"path": "as list_files shows it"}),
    "write_file": (write_file, "Keeps a text as a file of the result.", {"path": "such as report.md", "text": "what is in it"}),
}


def described(name):
    _, description, fields = TOOLS[name]
    properties = {field: {"type": "string", "description": means} for field, means in fields.items()}
    schema = {"type": "object", "properties": properties, "required": list(fields), "additionalProperties": False}
    return {"name": name, "description": description, "input_schema": schema}


def call(body):
    """One answer of the model. What is busy (429, 5xx) is asked again; any other refusal ends the task with its reason."""
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    url = os.environ["MODEL_URL"] + "/v1/messages"
    for left in reversed(range(TRIES)):
        try:
            request = urllib.request.Request(url, json.dumps(body).encode(), headers)
            with urllib.request.urlopen(request, timeout=600) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            text = refused.read().decode(errors="replace")[:1000]
            if left == 0 or (refused.code != 429 and refused.code < 500):
                raise RuntimeError(f"the model was not reached ({refused.code}): {text}") from None
            asked = refused.headers.get("retry-after", "")
            wait = float(asked) if asked.replace(".", "", 1).isdigit() else 2.0 ** (TRIES - left)
            if wait > 120:
                raise RuntimeError(f"the model has no room for {wait:g} s ({refused.code})") from None
            time.sleep(wait)


class Agent:
    warning = ""  # what the hub said last of the money; the model reads it with what its tools answer

    def answer(self, block):
        """Does what the model asks for. A tool that fails tells the model why."""
        result = {"type": "tool_result", "tool_use_id": block["id"]}
        try:
            if block["name"] not in TOOLS:
                raise ValueError(f"there is no tool {block['name']}")
            return {**result, "content": TOOLS[block["name"]][0](**block["input"])[:MOST_TEXT]}
        except (OSError, ValueError, TypeError) as wrong:
            return {**result, "content": f"failed: {wrong}", "is_error": True}

    def work(self, task, model, system, most):
        messages = [{"role": "user", "content": task}]
        for turn in range(most):
            say(op="progress", text=f"turn {turn + 1}", done=turn, total=most)
            tools = [described(name) for name in TOOLS]
            said = call({"model": model, "max_tokens": MOST_OUTPUT, "system": system, "messages": messages, "tools": tools})
            if said["stop_reason"] == "max_tokens":
                raise RuntimeError(f"the answer ended at {MOST_OUTPUT} tokens; raise MOST_OUTPUT in main.py")
            calls = [block for block in said["content"] if block["type"] == "tool_use"]
            if not calls:
                text = "".join(block["text"] for block in said["content"] if block["type"] == "text")
                return {"turns": turn + 1, "text": text[:10_000]}
            answers = [self.answer(block) for block in calls]
            answers[0]["content"] += self.warning
            self.warning = ""
            messages += [{"role": "assistant", "content": said["content"]}, {"role": "user", "content": answers}]
        raise RuntimeError(f"not done after {most} turns")

    def start(self, line):
        spec = line.get("spec", {})
        try:
            task = line["params"].get("task")
            if not isinstance(task, str) or not task:
                raise ValueError("params.task is what to do, in words")
            if "model" not in spec:
                raise ValueError("no model is named: `defaults: { model: ... }` in the card, or `hub submit --model`")
            value = self.work(task, spec["model"], spec.get("system", SYSTEM), spec.get("maxTurns", MOST_TURNS))
            say(op="result", value=value, stopReason="end_turn")
        except Exception as wrong:
            say(op="result", outcome="failed", error=str(wrong)[:2000])


agent = Agent()
# The task has a thread of its own, so that the hub is heard while the model is thinking.
for text in sys.stdin:
    line = json.loads(text)
    if line["op"] == "task":
        threading.Thread(target=agent.start, args=(line,), daemon=True).start()
    elif line["op"] == "budget":
        spent, limit = line["spentUsd"] / 1e6, line["limitUsd"] / 1e6
        agent.warning = f"\n[{spent:g} of {limit:g} USD ({line['of']}) are spent. A call that does not fit is refused: finish in time.]"
    elif line["op"] == "error":
        print("refused:", line, file=sys.stderr)
    elif line["op"] == "shutdown":
        break
