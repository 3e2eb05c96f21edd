"""aider on one task, unattended. aider ends with exit code 0 also where its model could not be called, and its output is for people; so this
program runs it by its own classes, and prints what it does as JSON events, one a line, as the driver `stream-json` reads them.

What aider shows is the log (standard error). Nothing of a repository can change how aider works: no `.env`, no `.aider.conf.yml`, no
`.aider.model.*` is read, since those are read by aider's command line, which is not used here.
"""
import contextlib
import importlib.metadata
import json
import os
import pathlib
import sys

# Before litellm is imported: its list of prices is the one that it brings, and it reads no .env.
os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MODE="PRODUCTION")

EVENTS = sys.stdout
CONTEXT, ANSWER = 200_000, 32_000  # tokens that aider plans with; what a call may take in truth is said by the hub
ROUNDS = 10  # answers to files that were asked for, to edits that did not fit, and to tests that failed
CACHE = "/tmp/aider-tags"  # of its map of the repository; aider would keep it in the repository
RULES = "AGENTS.md"


def say(kind, **fields):
    print(json.dumps({"type": kind, **fields}), file=EVENTS, flush=True)


def work(model_name, task):
    """Whether it went well, why not, and the tokens that the model counted."""
    from aider import models
    from aider.coders import Coder
    from aider.io import InputOutput
    from aider.repomap import RepoMap

    class Quiet(InputOutput):
        """Every question is answered with yes, and no browser is opened."""

        def tool_error(self, message="", strip=True):
            super().tool_error(message, strip)
            if str(message).strip():
                say("error", message=str(message).strip())

        def offer_url(self, *args, **kwargs):
            return False

    name = f"openai/{model_name}"
    manager = models.model_info_manager
    # Else it fetches a list of models from outside. An empty list would be fetched again.
    manager.content = {name: {"max_input_tokens": CONTEXT, "max_output_tokens": ANSWER, "litellm_provider": "openai"}}
    manager.local_model_metadata, manager._cache_loaded = manager.content, True
    RepoMap.TAGS_CACHE_DIR = CACHE

    model = models.Model(name, weak_model=name, editor_model=False)
    model.edit_format = "diff"
    model.use_temperature = False  # newer models refuse one
    headers = {"User-Agent": f"aider/{importlib.metadata.version('aider-chat')}"}
    model.extra_params = {"stream_options": {"include_usage": True}, "extra_headers": headers}
    test = os.environ.get("AIDER_TEST_COMMAND")
    coder = Coder.create(
        main_model=model,
        io=Quiet(pretty=False, yes=True, fancy_input=False),
        read_only_fnames=[RULES] if pathlib.Path(RULES).is_file() else [],
        auto_commits=False,  # what is not committed is committed at the end by the shim
        dirty_commits=False,
        auto_test=bool(test),
        test_cmd=test,
        suggest_shell_commands=False,
        detect_urls=False,
    )
    coder.max_reflections = ROUNDS

    calls = {"made": 0, "failure": ""}
    usage = {"input_tokens": 0, "cached": 0, "output_tokens": 0}
    send, read, apply, check = coder.send, coder.show_send_output_stream, coder.apply_updates, coder.commands.cmd_test

    def did(tool, what, failed):
        id = f"{calls['made']} {tool} {what}"
        end = {"status": "error", "error": {"message": failed}} if failed else {"status": "success"}
        say("tool_use", tool_name=tool, tool_id=id, parameters=what)
        say("tool_result", tool_id=id, **end)

    def send_seen(*args, **kwargs):
        calls["failure"] = "its model was not reached"
        try:
            yield from send(*args, **kwargs)
        except Exception as thrown:
            calls["failure"] = str(thrown) or f"the answer of its model broke off: {thrown!r}"
            raise
        calls["failure"] = "" if coder.partial_response_content.strip() else "its model answered nothing"
        calls["made"] += 1
        say("message", role="assistant", content=coder.partial_response_content)

    def read_counted(chunks):
        def counted():
            for chunk in chunks:
                told = getattr(chunk, "usage", None)
                if told is not None:
                    details = getattr(told, "prompt_tokens_details", None)
                    usage["input_tokens"] += told.prompt_tokens or 0
                    usage["cached"] += getattr(details, "cached_tokens", None) or 0
                    usage["output_tokens"] += told.completion_tokens or 0
                yield chunk

        return read(counted())

    def apply_seen():
        edited = apply()
        failed = coder.reflected_message
        for path in sorted(edited) or ([""] if failed else []):
            did("edit", path, failed)
        return edited

    def check_seen(command):
        failed = check(command)
        did("test", command, failed)
        return failed

    coder.send, coder.show_send_output_stream, coder.apply_updates = send_seen, read_counted, apply_seen
    coder.commands.cmd_test = check_seen
    # Not by `run`, which takes a task that begins with / or ! for a command of its own.
    coder.check_for_file_mentions(task)
    coder.run_one(task, preproc=False)

    why = calls["failure"]
    if not why and coder.num_exhausted_context_windows:
        why = "the context or the answer of its model was full"
    if not why and coder.reflected_message:
        why = f"it stopped after {ROUNDS} rounds; the last one left: {coder.reflected_message}"
    return why, usage


def main():
    model, task = sys.argv[1:]
    with contextlib.redirect_stdout(sys.stderr):
        try:
            why, usage = work(model, task)
        except Exception as thrown:
            why, usage = f"aider failed: {thrown!r}", None
    end = {"status": "error", "error": {"message": why}} if why else {"status": "success"}
    say("result", **end, **({"stats": usage} if usage else {}))
    return 1 if why else 0


sys.exit(main())
