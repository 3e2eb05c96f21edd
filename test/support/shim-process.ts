/** The shim as a process against the stand-in of the entrance: everything of a session but its container. */
import { type ChildProcess, spawn } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Envelope } from '../../hub/protocol/envelope.ts'
import { createAgentEntrance, type EntranceOptions, type SessionOptions } from './agent-entrance.ts'
import { packFolder } from './packed-file.ts'

const SHIM = resolve(import.meta.dirname, '../../images/agent/shim.ts')
/** The system's own before one that a version manager has put in front of it. */
export const PYTHON = ['/usr/bin/python3', '/usr/local/bin/python3'].find((path) => existsSync(path)) ?? 'python3'

const PRELUDE = `import json, os, signal, subprocess, sys, time
def say(**line): print(json.dumps(line), flush=True)
def hear(): return json.loads(sys.stdin.readline())
`

export function createShimBench() {
  const dir = mkdtempSync(join(tmpdir(), 'sh-'))
  const hooks: Omit<EntranceOptions, 'dir'> = {}
  const children: ChildProcess[] = []
  const entrance = createAgentEntrance({
    dir,
    judge: (session, envelope) => hooks.judge?.(session, envelope),
    onAccepted: (session, envelope) => hooks.onAccepted?.(session, envelope),
  })
  let programs = 0

  function write(name: string, text: string): string {
    programs += 1
    const file = join(dir, `${programs}-${name}`)
    writeFileSync(file, text)
    return file
  }

  /** `env`: further variables of the shim itself. */
  async function start(options: SessionOptions, env: Record<string, string> = {}) {
    const session = await entrance.addSession(options)
    const workspace = join(dir, `w-${session.session}`)
    mkdirSync(workspace)
    const child = spawn(process.execPath, [SHIM], {
      env: {
        PATH: process.env.PATH,
        NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE,
        HUB_SOCKET: session.socketPath,
        HUB_SESSION: session.session,
        HUB_DEADLINE: String(Date.now() + 600_000),
        HUB_WORKSPACE: workspace,
        HUB_AGENT_HOME: join(workspace, 'home'),
        HUB_AGENT_SECRETS: join(dir, `s-${session.session}`),
        SHIM_ONLY: 'must not reach the program',
        ...env,
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    children.push(child)
    let stderr = ''
    child.stderr.on('data', (chunk) => {
      stderr += chunk
    })
    const exit = new Promise<number | null>((done) => child.on('close', (code) => done(code)))
    const envelopes = (kind: Envelope['kind']) =>
      session.seen.flatMap(({ envelope }) => (envelope?.kind === kind ? [envelope] : []))
    return {
      session,
      child,
      exit,
      workspace,
      stderr: () => stderr,
      envelopes,
      logs: () => envelopes('log').map(({ body }) => String(body.text)),
      artifact: (name: string) => entrance.blobs.get(session.artifactNames.get(name) ?? '')?.toString(),
    }
  }

  return {
    dir,
    hooks,
    entrance,
    start,
    /** A Python program: `say(op=..., ...)` prints a line, `hear()` reads one. */
    python: (text: string): string[] => [PYTHON, write('program.py', PRELUDE + text)],
    shell: (text: string): string[] => ['sh', write('program.sh', text)],
    /** A task's inputs, packed as `hub submit --input` does it. */
    async inputs(files: Record<string, string | Buffer>) {
      const folder = mkdtempSync(join(dir, 'input-'))
      for (const [name, text] of Object.entries(files)) {
        mkdirSync(join(folder, name, '..'), { recursive: true })
        writeFileSync(join(folder, name), text)
      }
      const packed = await packFolder(folder, { bytesMax: 1e8, filesMax: 1e4, tmpDir: dir })
      const stored = {
        manifest: entrance.store(packed.manifestBytes),
        pack: entrance.store(readFileSync(packed.pack.file)),
      }
      await packed.remove()
      return stored
    },
    async close() {
      for (const child of children) child.kill('SIGKILL')
      await entrance.close()
      endProcessesIn(dir)
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** Ends who works below a folder: a program outlives a shim that was killed, and there is no container to take it along. */
function endProcessesIn(dir: string): void {
  for (const name of readdirSync('/proc').filter((each) => /^[0-9]+$/.test(each))) {
    try {
      if (readlinkSync(`/proc/${name}/cwd`).startsWith(`${dir}/`)) process.kill(Number(name), 'SIGKILL')
    } catch {
      // It has ended meanwhile.
    }
  }
}

/** Whether a process of that id is there (and not a corpse that only waits to be collected). */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
  } catch {
    return false
  }
  const stat = existsSync(`/proc/${pid}/stat`) ? readFileSync(`/proc/${pid}/stat`, 'utf8') : ''
  return !/\) Z /.test(stat)
}
