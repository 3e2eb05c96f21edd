/**
 * The configuration in force, key by key: what another text would change, what of it counts without a restart, and how it is shown (S0-13,
 * S0-14). Whether a key is live stands beside its definition and nowhere else (protocol/keys.ts).
 */
import type { z } from 'zod'
import { HubError } from './base/errors.ts'
import { hideSecrets } from './base/secret-shapes.ts'
import { type Config, type ConfigRead, configShape, judgeConfig } from './config.ts'
import type { ForceOf } from './home/config-watch.ts'
import { isBag, type Leaf, leavesOf, writtenAs } from './protocol/keys.ts'

export type Force = ForceOf<Config>

const LEAVES = leavesOf(configShape)
const nameOf = ({ path }: Leaf) => path.join('.')

/** What the file gives this key. */
const givenFor = (given: unknown, { path }: Leaf): unknown =>
  path.reduce<unknown>(
    (inside, step) => (isBag(inside) && Object.hasOwn(inside, step) ? inside[step] : undefined),
    given,
  )

/** A text with the same key at another value, so that `60s` and `1m` are one. */
function meaningOf(given: unknown, leaf: Leaf): string {
  const parsed = (leaf.whole as z.ZodType).safeParse(givenFor(given, leaf))
  const value: unknown = parsed.success ? parsed.data : givenFor(given, leaf)
  return (
    JSON.stringify(value, (_, one: unknown) =>
      typeof one === 'number' && !Number.isFinite(one) ? String(one) : one,
    ) ?? ''
  )
}

/** `given` with this key as `from` has it. */
function withKey(given: unknown, from: unknown, leaf: Leaf): unknown {
  const copy: Record<string, unknown> = structuredClone(isBag(given) ? { ...given } : {})
  let inside = copy
  for (const step of leaf.path.slice(0, -1)) {
    const next = inside[step]
    const map: Record<string, unknown> = isBag(next) ? { ...next } : {}
    inside[step] = map
    inside = map
  }
  const last = leaf.path.at(-1) ?? ''
  const value = givenFor(from, leaf)
  if (value === undefined) delete inside[last]
  else inside[last] = value
  return copy
}

/** What people may see of a value: of an address only where it leads, and nothing that looks like a secret (S0-24). */
function masked(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(masked)
  if (isBag(value)) return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, masked(one)]))
  if (typeof value !== 'string') return value
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(value) || !URL.canParse(value)) return hideSecrets(value)
  const { protocol, host, pathname, search } = new URL(value)
  return `${protocol}//${host}${pathname.length > 1 || search !== '' ? '/[hidden]' : ''}`
}

function shownOf(given: unknown, leaf: Leaf): string {
  const value = givenFor(given, leaf)
  return value === undefined ? writtenAs(leaf.usual, leaf.unit) : writtenAs(masked(value), '')
}

/** As `judgeConfig`; a value that is known but not supported is a fault like another. */
function judge(text: string): ReturnType<typeof judgeConfig> {
  try {
    return judgeConfig(text)
  } catch (thrown) {
    if (!(thrown instanceof HubError)) throw thrown
    return { config: undefined, given: undefined, faults: [{ line: 1, column: 1, key: '', message: thrown.message }] }
  }
}

export function createForce(start: ConfigRead): Force {
  let config = start.config
  let given = judge(start.text).given

  return {
    now: () => config,
    plan(text) {
      const judged = judge(text)
      if (judged.config === undefined) return { faults: judged.faults }
      const other = LEAVES.filter((leaf) => meaningOf(given, leaf) !== meaningOf(judged.given, leaf))
      const waiting = other.filter(({ live }) => live === 'restart')
      const merged = waiting.reduce<unknown>((so, leaf) => withKey(so, given, leaf), judged.given ?? {})
      const parsed = configShape.safeParse(merged)
      // Keys that only fit together: all of them wait.
      if (!parsed.success) return { config, given, file: judged.given ?? {}, changed: [], waiting: other.map(nameOf) }
      const changed = other.filter(({ live }) => live !== 'restart').map(nameOf)
      return { config: parsed.data, given: merged, file: judged.given ?? {}, changed, waiting: waiting.map(nameOf) }
    },
    take(plan) {
      const before = { config, given }
      ;({ config, given } = plan)
      return () => {
        ;({ config, given } = before)
      }
    },
    rows: (file) =>
      LEAVES.map((leaf) => ({
        key: nameOf(leaf),
        value: shownOf(given, leaf),
        source: givenFor(given, leaf) === undefined ? 'default' : 'hub.yaml',
        live: leaf.live,
        file: file === undefined || meaningOf(given, leaf) === meaningOf(file, leaf) ? null : shownOf(file, leaf),
      })),
  }
}
