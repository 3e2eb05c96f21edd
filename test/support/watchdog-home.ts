/** What watchdog tests stand on: a steerable clock, a home in a temporary folder, containers, and a hub's answers with real keys. */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import type { Clock, Reading } from '../../watchdog/base/clock.ts'
import { canonicalText, macHex, sha256Hex } from '../../watchdog/base/digest.ts'
import type { Container } from '../../watchdog/judge/containers.ts'
import type { Answer, Checkpoint, Session } from '../../watchdog/judge/lease.ts'
import type { Engine } from '../../watchdog/observe/engine.ts'

export const INSTANCE = '0f0e0d0c-0000-4000-8000-00000000abcd'
export const KEY = Buffer.alloc(32, 7)
export const HOUR = 3_600_000
export const ZEROS = '0'.repeat(64)

/** A clock whose four readings move only when told to. Timers fire at once: nothing in these tests waits. */
export function createSteerableClock(): Clock & {
  move(ms: number): void
  stepWall(ms: number): void
  sleep(ms: number): void
  reboot(offMs: number): void
} {
  let at: Reading = { wallMs: Date.UTC(2026, 0, 5, 9), bootMs: 5_000_000, monotonicMs: 4_000_000, bootId: 'boot-a' }
  let boots = 0
  return {
    read: () => at,
    after(_ms, fn) {
      const handle = setImmediate(fn)
      return () => clearImmediate(handle)
    },
    move(ms) {
      at = { ...at, wallMs: at.wallMs + ms, bootMs: at.bootMs + ms, monotonicMs: at.monotonicMs + ms }
    },
    stepWall(ms) {
      at = { ...at, wallMs: at.wallMs + ms }
    },
    sleep(ms) {
      at = { ...at, wallMs: at.wallMs + ms, bootMs: at.bootMs + ms }
    },
    reboot(offMs) {
      boots += 1
      at = { wallMs: at.wallMs + offMs, bootMs: 20_000, monotonicMs: 20_000, bootId: `boot-${boots}` }
    },
  }
}

/** A home as `hub init` leaves it for the watchdog, removed by `remove`. */
export function makeHome(config?: object): { home: string; checkpointKey: KeyObject; remove(): void } {
  const home = mkdtempSync(path.join(os.tmpdir(), 'wd-'))
  for (const folder of ['watchdog', 'watchdog/run', 'keys', 'run']) mkdirSync(path.join(home, folder), { mode: 0o700 })
  writeFileSync(path.join(home, 'instance'), `${INSTANCE}\n`)
  writeFileSync(path.join(home, 'keys/watchdog.key'), `${KEY.toString('hex')}\n`, { mode: 0o600 })
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  writeFileSync(path.join(home, 'keys/checkpoint.pub'), publicKey.export({ type: 'spki', format: 'pem' }))
  if (config !== undefined) writeFileSync(path.join(home, 'watchdog/config.json'), JSON.stringify(config))
  return { home, checkpointKey: privateKey, remove: () => rmSync(home, { recursive: true, force: true }) }
}

let containers = 0
/** A labelled container that is live and far from its deadline unless told otherwise. */
export function makeContainer(
  now: Reading,
  over: Partial<Container> = {},
  labels: Record<string, string> = {},
): Container {
  containers += 1
  const id = sha256Hex(`container ${containers}`)
  return {
    id,
    name: `hub-0f0e0d0c-s${containers}`,
    state: 'running',
    createdAtMs: now.wallMs,
    ...over,
    labels: {
      'hub.instance': INSTANCE,
      'hub.session': `s${containers}`,
      'hub.expires-at': String(now.wallMs + HOUR),
      'hub.expires-boot': `${now.bootId}:${now.bootMs + HOUR}`,
      ...labels,
    },
  }
}

export function sessionOf(container: Container): Session {
  return {
    session: container.labels['hub.session'] ?? '',
    container: container.name,
    containerId: container.id,
    agent: 'echo',
    generation: 1,
    attempt: 1,
    expiresAtMs: Number(container.labels['hub.expires-at'] ?? 0),
    expiresBoot: container.labels['hub.expires-boot'] ?? '',
  }
}

export const makeAnswer = (over: Partial<Answer> = {}): Answer => ({
  run: null,
  mode: 'normal',
  conditions: [],
  dispatched: 0,
  queued: 0,
  auditSize: 0,
  auditHead: ZEROS,
  checkpoints: [],
  asked: [],
  bufferSize: 0,
  bufferHead: null,
  sessions: [],
  announced: null,
  raw: '{}',
  ...over,
})

export function makeCheckpoint(
  key: KeyObject,
  size: number,
  head: string,
  before: Checkpoint | null,
  instance = INSTANCE,
): Checkpoint {
  const previous = before === null ? ZEROS : sha256Hex(canonicalText(before))
  const body = { size, head, previous, instance, wallMs: 1, bootId: 'boot-a' }
  const signature = sign(null, Buffer.from(`hub-checkpoint-v1\n${canonicalText(body)}`), key).toString('base64url')
  return { ...body, signature }
}

export function ledgerText(sessions: readonly Session[], over: object = {}): string {
  const body = { version: 1, instance: INSTANCE, epoch: 1, writtenAtMs: 1, mode: 'normal', sessions, ...over }
  return JSON.stringify({ ...body, mac: macHex(KEY, '', canonicalText(body)) })
}

/** An engine in memory. `stubborn` containers refuse to go; `down` makes every call fail. */
export function createFakeEngine(): Engine & {
  present: Map<string, Container>
  stubborn: Set<string>
  down: boolean
  disagrees: string | null
} {
  const present = new Map<string, Container>()
  const stubborn = new Set<string>()
  const engine = {
    present,
    stubborn,
    down: false,
    disagrees: null as string | null,
    disagreement: () => engine.disagrees,
    async list() {
      up()
      return [...present.values()]
    },
    async inspect(id: string) {
      up()
      const found = present.get(id)
      return found === undefined ? ('gone' as const) : { state: found.state }
    },
    machine: async () => ({ kernel: 'of a test', memoryBytes: 1 }),
    stop: async (id: string) => told(id),
    kill: async (id: string) => told(id),
    async remove(id: string) {
      const said = told(id)
      if (said === 'done') present.delete(id)
      return said
    },
  }
  const up = () => {
    if (engine.down) throw new Error('the engine is down')
  }
  const told = (id: string): 'done' | 'gone' => {
    up()
    if (!present.has(id)) return 'gone'
    if (stubborn.has(id)) throw new Error('it will not die')
    return 'done'
  }
  return engine
}
