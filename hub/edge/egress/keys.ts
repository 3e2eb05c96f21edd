/**
 * The key of an upstream, added outside of every container (S1-53). A file of the home is read at each use; what a program prints is kept for the
 * time that hub.yaml gives it. Every value is made known to the one who masks, before it goes out.
 */
import { spawn } from 'node:child_process'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import { scrub } from '../../base/random.ts'
import type { Upstream } from '../../protocol/egress/upstreams.ts'

const COMMAND_MS_MAX = 10_000
const COMMAND_BYTES_MAX = 64 * 1024
const PATH = '/usr/local/bin:/usr/bin:/bin'

export interface UpstreamKeys {
  /** The header that carries the key; undefined for an upstream without one. Throws `config_invalid` where there is no proper key. */
  headerFor(upstream: Upstream): Promise<readonly [name: string, value: string] | undefined>
}

export function createUpstreamKeys(parts: {
  clock: Clock
  /** A copy of the secret of this name. */
  secretOf: (name: string) => Buffer
  know: (name: string, value: Buffer) => boolean
}): UpstreamKeys {
  const { clock, secretOf, know } = parts
  const printed = new Map<string, { key: string; untilMs: number }>()
  const running = new Map<string, Promise<string>>()

  async function ofCommand(upstream: string, command: readonly string[], ttlMs: number): Promise<string> {
    // Under another command the kept answer of the old one is no answer.
    const id = JSON.stringify([upstream, command])
    const kept = printed.get(id)
    if (kept !== undefined && kept.untilMs > clock.monotonicMs()) return kept.key
    const under = running.get(id)
    if (under !== undefined) return under
    const run = runCommand(upstream, command, clock).then((key) => {
      know(`upstream ${upstream}`, Buffer.from(key))
      printed.set(id, { key, untilMs: clock.monotonicMs() + ttlMs })
      return key
    })
    running.set(id, run)
    try {
      return await run
    } finally {
      running.delete(id)
    }
  }

  async function keyOf({ name, secret }: Upstream): Promise<string | undefined> {
    if (secret === undefined) return undefined
    if (typeof secret !== 'string') return ofCommand(name, secret.command, secret.ttlMs)
    const value = secretOf(secret)
    try {
      return value.toString('utf8').trim()
    } finally {
      scrub(value)
    }
  }

  return {
    async headerFor(upstream) {
      const key = await keyOf(upstream)
      if (key === undefined) return undefined
      // In a header it could begin another one.
      if (!/^[\x21-\x7e]{1,8192}$/.test(key))
        throw new HubError(
          'config_invalid',
          `the key of the upstream ${upstream.name} is no single word of plain letters`,
        )
      const { form } = upstream.auth
      if (form === 'header') return [upstream.auth.name, key]
      if (form === 'bearer') return ['authorization', `Bearer ${key}`]
      const user = upstream.kind === 'pypi' ? '__token__' : 'x-access-token'
      const pair = key.includes(':') ? key : `${user}:${key}`
      const encoded = Buffer.from(pair).toString('base64')
      know(`upstream ${upstream.name} (basic)`, Buffer.from(encoded))
      return ['authorization', `Basic ${encoded}`]
    },
  }
}

/** What the program prints, without the space around it. Nothing of it is told when it fails: it could be half a key. */
function runCommand(upstream: string, [program = '', ...words]: readonly string[], clock: Clock): Promise<string> {
  return new Promise((resolve, reject) => {
    const failed = (why: string) =>
      reject(new HubError('config_invalid', `the program for the key of the upstream ${upstream} ${why}`))
    // A group of its own, so that what it started ends with it.
    const child = spawn(program, words, {
      env: { PATH },
      cwd: '/',
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    })
    let out = ''
    const endAll = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      } catch {
        // None of it is left.
      }
    }
    const timer = clock.after(COMMAND_MS_MAX, () => {
      endAll()
      child.stdout.destroy()
      failed(`took longer than ${COMMAND_MS_MAX / 1000} s`)
    })
    child.stdout.setEncoding('utf8')
    child.stdout.on('data', (part: string) => {
      if (out.length <= COMMAND_BYTES_MAX) out += part
    })
    child.once('error', () => {
      timer.cancel()
      failed('could not be started')
    })
    child.once('close', (code) => {
      timer.cancel()
      endAll()
      const key = out.trim()
      if (code !== 0) failed(`ended with ${code ?? 'a signal'}`)
      else if (key === '' || out.length > COMMAND_BYTES_MAX) failed('printed no key')
      else resolve(key)
    })
  })
}
