/**
 * Terminals that an agent asks its client for: commands in the workspace, beside the agent and as little trusted (S4-39). There is no terminal in the
 * sense of a screen: output is a pipe.
 *
 * L1. A command has the program's environment and what the agent adds to it, and nothing of the shim's.
 * L2. At most four at once, until they are released and have ended. What is killed has five seconds to end; with the session all are killed at once.
 * L3. Of its output the end is kept.
 */

import { STOP_GRACE_MS } from '../../../hub/protocol/stop-grace.ts'
import { type Child, type Exit, startChild } from '../child.ts'
import { listOf, textOf } from '../stream-events.ts'
import { Refusal } from './files.ts'
import { RPC } from './wire.ts'

export const TERMINALS_MAX = 4
const OUTPUT_BYTES_MAX = 1024 ** 2
/** What a shell says of a program that it cannot start. */
const NOT_STARTED = 127

export interface TerminalRequest {
  command: string
  args?: readonly string[] | undefined
  env?: unknown
  cwd?: string | null | undefined
  outputByteLimit?: number | null | undefined
}
export interface ExitStatus {
  exitCode: number | null
  signal: string | null
}

export interface Terminals {
  /** @throws Refusal for the fifth, and for a folder that is not in the workspace */
  create(request: TerminalRequest): Promise<string>
  output(id: string): { output: string; truncated: boolean; exitStatus?: ExitStatus }
  waitForExit(id: string): Promise<ExitStatus>
  kill(id: string): void
  release(id: string): void
  closeAll(): void
}

interface Terminal {
  child: Child
  /** The agent has no more to do with it. Its place is free once it has ended. */
  isReleased: boolean
  tail: ReturnType<typeof createTail>
  /** Resolves when all of its output is in `tail`. */
  read: Promise<unknown>
  /** Once it has ended. */
  status: ExitStatus | undefined
}

const statusOf = (exit: Exit): ExitStatus => {
  if (exit.kind === 'killed') return { exitCode: null, signal: exit.signal }
  return { exitCode: exit.kind === 'exited' ? exit.code : NOT_STARTED, signal: null }
}

/** Waits for its end. */
async function endOf(terminal: Terminal): Promise<ExitStatus> {
  const how = await terminal.child.exit
  await terminal.read
  if (terminal.status === undefined && how.kind === 'not_started')
    terminal.tail.add(Buffer.from(`it could not be started: ${how.why}\n`))
  terminal.status ??= statusOf(how)
  return terminal.status
}

/** The last bytes, cut between characters. */
function createTail(bytesMax: number) {
  let kept: Buffer[] = []
  let [bytes, truncated] = [0, false]
  const all = () => Buffer.concat(kept)
  function cut(): Buffer {
    const end = all().subarray(-bytesMax || bytes)
    const from = end.findIndex((byte) => (byte & 0xc0) !== 0x80)
    return from === -1 ? Buffer.alloc(0) : end.subarray(from)
  }
  return {
    add(chunk: Buffer): void {
      kept.push(Buffer.from(chunk))
      bytes += chunk.length
      truncated ||= bytes > bytesMax
      // Not each time: joining costs as much as there is.
      if (bytes <= 2 * bytesMax + 65_536) return
      kept = [Buffer.from(cut())]
      bytes = kept[0]?.length ?? 0
    },
    text: () => ({ output: (bytesMax === 0 ? '' : truncated ? cut() : all()).toString(), truncated }),
  }
}

/** A whole command line, which many agents send as the command: only a shell can take it apart. */
const argvOf = ({ command, args = [] }: TerminalRequest): string[] =>
  args.length === 0 && /[\s;&|<>$`"']/.test(command) ? ['sh', '-c', command] : [command, ...args]

function environment(base: Readonly<Record<string, string>>, more: unknown): Record<string, string> {
  const added = listOf(more).map(({ name, value }) => [textOf(name), textOf(value)] as const)
  const odd = added.find(([name, value]) => !/^[^=\0]+$/.test(name) || value.includes('\0'))
  if (odd !== undefined) throw new Refusal(-32_602, `env: ${JSON.stringify(odd[0])} is no name of a variable`)
  return { ...base, ...Object.fromEntries(added) }
}

export function createTerminals(place: {
  env: Readonly<Record<string, string>>
  cwd: string
  folder: (path: string) => Promise<string>
}): Terminals {
  const terminals = new Map<string, Terminal>()
  let made = 0
  let closed = false
  function known(id: string): Terminal {
    const terminal = terminals.get(id)
    if (terminal === undefined || terminal.isReleased)
      throw new Refusal(RPC.missing, `Resource not found: ${id}`, { uri: id })
    return terminal
  }
  const isFull = () => terminals.size >= TERMINALS_MAX

  return {
    async create(request) {
      const full = new Refusal(RPC.limit, `at most ${TERMINALS_MAX} terminals at once: release one first`)
      if (isFull()) throw full
      const env = environment(place.env, request.env)
      const cwd = typeof request.cwd === 'string' ? await place.folder(request.cwd) : place.cwd
      if (closed) throw new Refusal(RPC.missing, 'the session has ended')
      if (isFull()) throw full
      const child = startChild(argvOf(request), { env, cwd })
      child.endInput()
      const tail = createTail(Math.min(request.outputByteLimit ?? OUTPUT_BYTES_MAX, OUTPUT_BYTES_MAX))
      const read = Promise.all([child.read('stdout', tail.add), child.read('stderr', tail.add)]).catch(() => {})
      made += 1
      const id = `terminal-${made}`
      const terminal: Terminal = { child, tail, read, isReleased: false, status: undefined }
      terminals.set(id, terminal)
      void endOf(terminal).then(() => {
        if (terminal.isReleased) terminals.delete(id)
      })
      return id
    },
    output(id) {
      const { tail, status } = known(id)
      return { ...tail.text(), ...(status === undefined ? {} : { exitStatus: status }) }
    },
    waitForExit: (id) => endOf(known(id)),
    kill: (id) => known(id).child.stop({ termAfterMs: 0, killAfterMs: STOP_GRACE_MS }),
    release(id) {
      const terminal = known(id)
      terminal.isReleased = true
      terminal.child.stop({ termAfterMs: 0, killAfterMs: STOP_GRACE_MS })
      if (terminal.status !== undefined) terminals.delete(id)
    },
    closeAll() {
      closed = true
      for (const { child } of terminals.values()) child.stop({ termAfterMs: 0, killAfterMs: 0 })
      terminals.clear()
    },
  }
}
