/**
 * Judges one push to a git server (docs/egress.md 1): which branches, and what the pack brings. Refused: a branch that is not listed, a deletion, a forced update,
 * and every new folder `workflows`, since the server would run what is in it, unless each branch of the push is listed for that. All of that must be seen in the push itself, so a pack with deltas, whose
 * objects can only be read beside what the server has, is refused too. What cannot be seen: that a commit puts back a folder that the server
 * already has, under any name, or leaves workflows out.
 */
import { createHash } from 'node:crypto'
import { inflateSync } from 'node:zlib'
import type { Upstream } from '../../../protocol/egress/upstreams.ts'
import { type Refused, refused } from './judged.ts'
import { matchesGlob } from './kinds/git.ts'

export interface JudgedPush {
  /** The branches that would change. None: the client only asks whether it may. */
  branches: readonly string[]
  /** It brings a folder that holds one named `workflows`. */
  workflows: boolean
}

const COMMANDS_MAX = 32
const OBJECTS_MAX = 50_000
/** One object is unpacked in one turn; this much takes about 50 ms. */
const OBJECT_BYTES_MAX = 16 * 1024 ** 2
const UNPACKED_BYTES_MAX = 512 * 1024 ** 2
const TURN_BYTES = 1024 * 1024
const ID = /^[0-9a-f]{40}$/
const NOTHING = '0'.repeat(40)
const TYPES = ['', 'commit', 'tree', 'blob', 'tag'] as const

class Odd extends Error {
  readonly code: Refused['code']
  constructor(detail: string, code: Refused['code'] = 'egress_denied') {
    super(detail)
    this.code = code
  }
}

interface Command {
  from: string
  to: string
  ref: string
}
type Commits = ReadonlyMap<string, readonly string[]>
/** What of a pack is looked at: how its commits follow each other, and whether a folder of it holds one named `workflows`. */
interface Pack {
  commits: Commits
  workflows: boolean
}

/** Judges the body of a POST to git-receive-pack in turns. The bytes are sent on as they are. Never throws for what an agent sent. */
export function* judgePush(upstream: Upstream, bytes: Buffer): Generator<undefined, JudgedPush | Refused> {
  try {
    if (bytes.length > upstream.bodyBytesMax)
      throw new Odd(
        `the push has more than ${upstream.bodyBytesMax} bytes; the limit is upstreams.${upstream.name}.bodyBytes`,
        'too_large',
      )
    const { commands, end } = readCommands(bytes)
    for (const command of commands) judgeCommand(upstream, command)
    if (commands.length === 0) {
      if (end !== bytes.length) throw new Odd('the push names no branch and brings objects')
      return { branches: [], workflows: false }
    }
    const { commits, workflows } = yield* readPack(bytes, end)
    for (const command of commands) judgeForce(command, commits)
    const branches = commands.map(({ ref }) => branchOf(ref))
    if (workflows) judgeWorkflows(upstream, branches)
    return { branches, workflows }
  } catch (thrown) {
    if (thrown instanceof Odd) return refused(thrown.code, thrown.message)
    throw thrown
  }
}

function branchOf(ref: string): string {
  return ref.replace(/^refs\/heads\//, '')
}

function judgeCommand(upstream: Upstream, { to, ref }: Command): void {
  if (!/^refs\/heads\/[\w][\w.-]*(?:\/[\w][\w.-]*)*$/.test(ref) || /\.\.|\.lock(?:\/|$)|\.(?:\/|$)/.test(ref))
    throw new Odd('only branches with a plain name may be pushed to: no tags, no other refs')
  const branch = branchOf(ref)
  if (!matchesGlob(upstream.push, branch))
    throw new Odd(
      `the branch ${branch} is not listed: push to one of ${upstream.push.join(', ')}, or add it to upstreams.${upstream.name}.push in hub.yaml`,
    )
  if (to === NOTHING) throw new Odd(`the branch ${branch} would be deleted, and nothing is deleted through here`)
}

/** Whether the new commit comes after the old one, as far as the commits of the pack lead. */
function judgeForce({ from, to, ref }: Command, commits: Commits): void {
  if (from === NOTHING || from === to) return
  const open = [to]
  const seen = new Set(open)
  for (let id = open.pop(); id !== undefined; id = open.pop())
    for (const parent of commits.get(id) ?? []) {
      if (parent === from) return
      if (!seen.has(parent)) open.push(parent)
      seen.add(parent)
    }
  throw new Odd(
    `the branch ${branchOf(ref)} would lose commits (a forced update), or it cannot be seen that it does not; merge or rebase on what the server has, or push to a new branch`,
  )
}

/** The commands before the pack: lines that each begin with their length in four digits, and a line of length 0. */
function readCommands(bytes: Buffer): { commands: Command[]; end: number } {
  const commands: Command[] = []
  for (let at = 0; ; ) {
    const digits = bytes.toString('latin1', at, at + 4)
    const length = /^[0-9a-f]{4}$/.test(digits) ? Number.parseInt(digits, 16) : -1
    if (length === 0) return { commands, end: at + 4 }
    if (length <= 4 || at + length > bytes.length)
      throw new Odd('the push does not begin with commands that can be read')
    if (commands.length === COMMANDS_MAX) throw new Odd(`a push changes at most ${COMMANDS_MAX} branches`)
    commands.push(readCommand(bytes.toString('latin1', at + 4, at + length), commands.length === 0))
    at += length
  }
}

function readCommand(line: string, isFirst: boolean): Command {
  const [words = '', capabilities = '', ...more] = line.replace(/\n$/, '').split('\0')
  const [from = '', to = '', ref = '', ...rest] = words.split(' ')
  if (!ID.test(from) || !ID.test(to) || rest.length > 0 || more.length > 0 || (capabilities !== '' && !isFirst))
    throw new Odd('the push holds a command that is none: shallow, signed and SHA-256 pushes do not pass')
  if (/(?:^| )push-options(?: |$)/.test(capabilities))
    throw new Odd('push options make the server do more than change a branch; push without -o')
  if (/(?:^| )push-cert/.test(capabilities)) throw new Odd('signed pushes do not pass')
  return { from, to, ref }
}

/** Looks through a pack, one object after the other. Throws on what does not pass. */
function* readPack(bytes: Buffer, start: number): Generator<undefined, Pack> {
  const commits = new Map<string, readonly string[]>()
  let workflows = false
  if (
    bytes.toString('latin1', start, start + 4) !== 'PACK' ||
    bytes.length < start + 32 ||
    bytes.readUInt32BE(start + 4) !== 2
  )
    throw new Odd('the push brings no pack that can be read')
  const count = bytes.readUInt32BE(start + 8)
  if (count > OBJECTS_MAX) throw new Odd(`the push brings ${count} objects, at most ${OBJECTS_MAX} pass`, 'too_large')
  let at = start + 12
  let [unpacked, turnAt] = [0, 0]
  for (let index = 0; index < count; index += 1) {
    const { type, size, from } = readObjectHead(bytes, at)
    if (size > OBJECT_BYTES_MAX)
      throw new Odd(`the push brings a file of ${size} bytes, at most ${OBJECT_BYTES_MAX} pass`, 'too_large')
    unpacked += size
    if (unpacked > UNPACKED_BYTES_MAX)
      throw new Odd(`the push unpacks to more than ${UNPACKED_BYTES_MAX} bytes`, 'too_large')
    const { data, taken } = unpack(bytes, from, size)
    if (type === 'commit') commits.set(idOf(type, data), parentsOf(data))
    else if (type === 'tree') workflows = holdsWorkflows(data) || workflows
    at = from + taken
    if (unpacked - turnAt > TURN_BYTES || index % 256 === 255) {
      turnAt = unpacked
      yield
    }
  }
  if (at + 20 !== bytes.length) throw new Odd('something follows the pack, or its end is missing')
  return { commits, workflows }
}

function readObjectHead(bytes: Buffer, start: number): { type: (typeof TYPES)[number]; size: number; from: number } {
  let at = start
  let byte = bytes[at] ?? 0
  const kind = (byte >> 4) & 7
  let size = byte & 15
  for (let factor = 16; byte >= 128; factor *= 128) {
    at += 1
    byte = bytes[at] ?? 0
    size += (byte & 127) * factor
    if (at - start > 6) throw new Odd('the push brings an object of an odd size')
  }
  if (kind === 6 || kind === 7)
    throw new Odd(
      'the push brings objects as differences to others (deltas), which cannot be judged; push with: git -c pack.depth=0 push',
    )
  const type = TYPES[kind]
  if (type === undefined || type === '') throw new Odd('the push brings an object of an unknown type')
  return { type, size, from: at + 1 }
}

/** The types of Node leave out that `info` hands out the engine as well. */
interface Inflated {
  buffer: Buffer
  engine: { bytesWritten: number }
}

function unpack(bytes: Buffer, from: number, size: number): { data: Buffer; taken: number } {
  try {
    const packed = bytes.subarray(from)
    const { buffer, engine } = inflateSync(packed, {
      info: true,
      maxOutputLength: Math.max(size, 1),
    }) as unknown as Inflated
    if (buffer.length === size) return { data: buffer, taken: engine.bytesWritten }
  } catch {
    // Told below, as for a size that is not the one given.
  }
  throw new Odd('the push brings an object that cannot be unpacked')
}

function idOf(type: string, data: Buffer): string {
  return createHash('sha1').update(`${type} ${data.length}\0`).update(data).digest('hex')
}

function parentsOf(data: Buffer): string[] {
  const head = data.toString('latin1').split('\n\n', 1)[0] ?? ''
  return [...head.matchAll(/^parent ([0-9a-f]{40})$/gm)].map(([, id = '']) => id)
}

/**
 * A folder that holds one named `workflows`, wherever it stands: under another name it could be pushed first and be put into its place by its id later, when
 * it is no longer in the pack.
 */
function holdsWorkflows(data: Buffer): boolean {
  let found = false
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(32, at)
    const end = data.indexOf(0, space)
    if (space === -1 || end === -1 || end + 21 > data.length)
      throw new Odd('the push brings a folder that cannot be read')
    found ||= data.toString('latin1', space + 1, end).toLowerCase() === 'workflows'
    at = end + 21
  }
  return found
}

/** A folder of a pack belongs to no one branch of it, so each branch must be listed. */
function judgeWorkflows(upstream: Upstream, branches: readonly string[]): void {
  const others = branches.filter((branch) => !matchesGlob(upstream.workflows, branch))
  if (others.length === 0) return
  throw new Odd(
    `the push changes a folder that holds one named workflows, and servers run what is in .github/workflows; leave such folders as they are, or add ${others.join(', ')} to upstreams.${upstream.name}.workflows in hub.yaml`,
  )
}
