/**
 * How large the home is, by its parts, how fast it grows, and when it fills the disk at that pace. Owns the table `room_sample`.
 *
 * R1. It is counted once an hour, file by file, and holds up nobody. The last count is shown.
 * R2. Growth is the difference between the newest count and the oldest of the last seven days. It is shown from six hours on; less says
 *     nothing.
 * R3. Full means the mark at which the hub is degraded, not the last byte.
 */
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Store } from '../../store/database.ts'
import { DAY_MS } from './settings.ts'

export const HOME_PARTS = ['database', 'artifacts', 'evidence', 'logs', 'audit', 'backups', 'cache', 'other'] as const
export type HomePart = (typeof HOME_PARTS)[number]
export type HomeParts = Record<HomePart, number>

export interface HomeSize {
  parts: HomeParts
  bytes: number
  /** Bytes until the disk's mark for degraded; null if the file system cannot be asked. */
  leftBytes: number | null
  /** Null: counted for less than six hours. */
  growthPerDayBytes: number | null
  /** Null: it does not grow, or that is not known yet. */
  daysToFull: number | null
  sampledAtMs: number
}

export interface HomeSizeWatch {
  /** Counts and keeps it. */
  sample(): Promise<void>
  /** The last count; null before the first. */
  view(): HomeSize | null
}

interface Sample {
  atMs: number
  parts: HomeParts
}

export const SAMPLE_EVERY_MS = 3_600_000
const KEPT_MS = 31 * DAY_MS
const JUDGED_MS = 7 * DAY_MS
const LEAST_MS = 6 * 3_600_000

const totalOf = (parts: HomeParts) => Object.values(parts).reduce((sum, bytes) => sum + bytes, 0)

/** Pure: bytes a day, and days until that many more bytes are taken. `samples`: oldest first. */
export function judgeGrowth(
  samples: readonly Sample[],
  leftBytes: number | null,
): Pick<HomeSize, 'growthPerDayBytes' | 'daysToFull'> {
  const newest = samples.at(-1)
  const oldest = newest && samples.find(({ atMs }) => atMs >= newest.atMs - JUDGED_MS)
  const spanMs = newest === undefined || oldest === undefined ? 0 : newest.atMs - oldest.atMs
  if (newest === undefined || oldest === undefined || spanMs < LEAST_MS)
    return { growthPerDayBytes: null, daysToFull: null }
  const growth = Math.round(((totalOf(newest.parts) - totalOf(oldest.parts)) * DAY_MS) / spanMs)
  const days = leftBytes === null || growth <= 0 ? null : Math.floor(Math.max(0, leftBytes) / growth)
  return { growthPerDayBytes: growth, daysToFull: days }
}

const partOf = (name: string): HomePart => {
  if (name === 'hub.db' || name.startsWith('hub.db-')) return 'database'
  if (name === 'transcripts') return 'artifacts'
  return HOME_PARTS.find((part) => part === name && part !== 'database' && part !== 'other') ?? 'other'
}

/** A link counts as a link. What disappears meanwhile counts nothing. */
async function bytesBelow(path: string): Promise<number> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return 0
  if (!found.isDirectory()) return found.blocks * 512
  let sum = 0
  for (const name of await readdir(path).catch(() => [])) sum += await bytesBelow(join(path, name))
  return sum
}

/** Undefined for what cannot be read: a lost figure must not keep the hub from starting (fault G3). */
function readParts(text: string): HomeParts | undefined {
  try {
    const found = JSON.parse(text) as Record<string, unknown> | null
    // A count of before the cache was a part of its own.
    const whole = { ...(found ?? {}), cache: found?.cache ?? 0 } as Record<string, unknown>
    return HOME_PARTS.every((part) => Number.isFinite(whole[part])) ? (whole as HomeParts) : undefined
  } catch {
    return undefined
  }
}

export function createHomeSize(
  options: { home: string },
  parts: {
    store: Pick<Store, 'prepare' | 'transaction' | 'failure'>
    nowMs: () => number
    /** How many bytes are left until the disk's mark. */
    leftBytes: () => number | null
  },
): HomeSizeWatch {
  const { home } = options
  const { store, nowMs, leftBytes } = parts
  const put = store.prepare(
    'insert into room_sample values (?, ?) on conflict (at_ms) do update set parts = excluded.parts',
  )
  const trim = store.prepare('delete from room_sample where at_ms < ? or at_ms > ?')
  const kept = store.prepare('select at_ms as atMs, parts from room_sample order by at_ms')
  const samples = (kept.all() as { atMs: number; parts: string }[]).flatMap(({ atMs, parts }): Sample[] => {
    const read = readParts(parts)
    return read === undefined ? [] : [{ atMs, parts: read }]
  })

  return {
    async sample() {
      const found = Object.fromEntries(HOME_PARTS.map((part) => [part, 0])) as HomeParts
      for (const name of await readdir(home).catch(() => [])) found[partOf(name)] += await bytesBelow(join(home, name))
      const atMs = nowMs()
      while (samples[0] !== undefined && samples[0].atMs < atMs - KEPT_MS) samples.shift()
      while ((samples.at(-1)?.atMs ?? 0) > atMs) samples.pop()
      samples.push({ atMs, parts: found })
      if (store.failure() !== undefined) return
      store.transaction(() => {
        trim.run(atMs - KEPT_MS, atMs)
        put.run(atMs, JSON.stringify(found))
      })
    },
    view() {
      const newest = samples.at(-1)
      if (newest === undefined) return null
      const left = leftBytes()
      return {
        parts: newest.parts,
        bytes: totalOf(newest.parts),
        leftBytes: left,
        ...judgeGrowth(samples, left),
        sampledAtMs: newest.atMs,
      }
    },
  }
}
