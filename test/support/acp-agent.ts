/** A scripted agent of the Agent Client Protocol, and the driver beside it: everything of a session but the hub, the shim and the container. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createFakeHub, type FakeHub } from '../../hub/client/agent/fake-hub.ts'
import type { Permission, Permit } from '../../hub/client/agent.ts'
import type { McpWay } from '../../hub/protocol/mcp-ways.ts'
import type { Wishes } from '../../hub/protocol/wish-places.ts'
import { type AcpTimes, driveAcp, driveAcpDraft } from '../../images/agent/acp/driver.ts'
import { createClasses } from '../../images/agent/classes.ts'
import type { Ending } from '../../images/agent/ending.ts'
import { draftProgram } from './draft-agent.ts'
import { PYTHON } from './shim-process.ts'

/**
 * What each script begins with. `heard` is what the client said so far. `ask` waits for the answer to its own id and keeps what else comes;
 * `prompt()` waits for the next prompt, `end()` ends its turn.
 */
export const ACP_PRELUDE = `import json, os, signal, subprocess, sys, time
heard, answers, waiting, S = [], {}, [], "s-1"
def raw(text): sys.stdout.write(text + "\\n"); sys.stdout.flush()
def send(**m): raw(json.dumps({"jsonrpc": "2.0", **m}))
def take():
    line = sys.stdin.readline()
    if line == "": keep(); sys.exit(0)
    m = json.loads(line); heard.append(m)
    if "method" not in m: answers[json.dumps(m["id"])] = m
    return m
def keep(**more):
    with open(os.environ["HEARD"], "w") as f: json.dump({"heard": heard, **more}, f)
def until(method):
    while True:
        for m in waiting:
            if m["method"] == method: waiting.remove(m); return m
        m = take()
        if "method" in m: waiting.append(m)
def answer(id):
    key = json.dumps(id)
    while key not in answers:
        m = take()
        if "method" in m: waiting.append(m)
    return answers.pop(key)
def ask(id, method, **params):
    send(id=id, method=method, params={"sessionId": S, **params}); return answer(id)
def update(what, session=S, **fields):
    send(method="session/update", params={"sessionId": session, "update": {"sessionUpdate": what, **fields}})
def words(text, **more): update("agent_message_chunk", content={"type": "text", "text": text}, **more)
def tool(id, status, title="a tool", kind="execute", **more):
    update("tool_call" if status == "pending" else "tool_call_update", toolCallId=id, status=status, title=title, kind=kind, **more)
def ready(version=1, session={}, **more):
    m = until("initialize"); send(id=m["id"], result={"protocolVersion": version, "agentInfo": {"name": "scripted", "version": "1"}, **more})
    m = until("session/new"); send(id=m["id"], result={"sessionId": S, **session}); return m["params"]
P = None
def prompt():
    global P
    P = until("session/prompt"); return P["params"]["prompt"]
def end(reason="end_turn", **more): send(id=P["id"], result={"stopReason": reason, **more})
def stay():
    while True: take()
OPTIONS = [{"optionId": "always", "name": "Always", "kind": "allow_always"}, {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
           {"optionId": "no", "name": "No", "kind": "reject_once"}]
`

export interface Driven {
  hub: FakeHub
  workspace: string
  logs: string[]
  asked: Permit[]
  ending: Promise<Ending>
  /** What the client said to the agent, once the agent has written it down. */
  heard: () => { heard: Record<string, never>[] } & Record<string, unknown>
}

export interface DriveOptions {
  params?: Record<string, unknown>
  permit?: (permit: Permit) => boolean | Permission | Promise<boolean | Permission>
  chat?: boolean
  /** The script is one of test/support/draft-agent.ts, and version 2 is spoken with it. */
  draft?: boolean
  spec?: Wishes
  /** Further words of `run`. */
  more?: string[]
  times?: Partial<AcpTimes>
  run?: (workspace: string) => string[]
  input?: string
  env?: Record<string, string>
  /** What its card says of the hub's tools. */
  mcp?: McpWay[]
}

export function createAcpBench() {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'acp-')))
  let runs = 0

  function drive(script: string, options: DriveOptions = {}): Driven {
    runs += 1
    const place = join(dir, String(runs))
    const workspace = join(place, 'workspace')
    mkdirSync(join(workspace, 'out'), { recursive: true })
    const isDraft = options.draft === true
    const [program, heard] = [join(place, isDraft ? 'agent.mjs' : 'agent.py'), join(place, 'heard.json')]
    writeFileSync(program, isDraft ? draftProgram(script) : ACP_PRELUDE + script)
    const asked: Permit[] = []
    const logs: string[] = []
    const hub = createFakeHub({
      task: {
        params: options.params ?? { task: 'Do it.' },
        ...(options.spec === undefined ? {} : { spec: options.spec }),
      },
      async onPermit(permit) {
        asked.push(permit)
        return (await options.permit?.(permit)) ?? false
      },
    })
    if (options.mcp !== undefined) hub.joined.program.mcp = options.mcp
    const ending = new Promise<Ending>((resolve, reject) => {
      hub.onTask(async () => {
        const driven = (isDraft ? driveAcpDraft : driveAcp)(
          {
            hub,
            argv: options.run?.(workspace) ?? [isDraft ? process.execPath : PYTHON, program, ...(options.more ?? [])],
            ...{ input: options.input, inputFolder: join(workspace, 'in'), cwd: workspace, workspace },
            env: { PATH: process.env.PATH ?? '', HOME: place, HEARD: heard, ...options.env },
            log: { add: (text) => void logs.push(text), flush: async () => {} },
            classes: createClasses(),
            ...{ turns: hub.turns, chat: options.chat === true, silence: { watch: () => {}, ended: () => undefined } },
          },
          // Of a test that needs one of them to be over.
          { readyMs: 60_000, cancelMs: 60_000, farewellMs: 60_000, killMs: 60_000, ...options.times },
        )
        driven.then(resolve, reject)
        return await driven.catch(() => undefined)
      })
    })
    void hub.perform()
    return {
      ...{ hub, workspace, logs, asked, ending },
      heard: () => JSON.parse(existsSync(heard) ? readFileSync(heard, 'utf8') : '{"heard": []}'),
    }
  }
  return { dir, drive, close: () => rmSync(dir, { recursive: true, force: true }) }
}
