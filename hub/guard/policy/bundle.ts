/**
 * The rules in force: found, checked, tried, and swapped whole (S1-4, S1-16, T21).
 *
 * B1. The shipped bundle is the files that `bundle.json` names by digest (shipped.ts); the operator's part is data, and rules of their own
 *     where they write some (home-bundle.ts), which can only narrow (home-rules.ts).
 * B2. A module imports no built-in outside the allow-list, which is empty: nothing leaves its memory.
 * B3. Before it is in force it must answer every sample as written, each within 5 ms, with the shipped data. Samples marked `any` (which
 *     must hold whatever the operator writes) must hold with the operator's data too. With that data all samples are timed (trials.ts).
 * B4. A reload replaces modules, data, engine and memo together, or throws and nothing changes. An older version is refused.
 * B5. What was accepted is kept (accepted.ts). If a start refuses what it finds, the kept rules rule; if there are none, the hub answers
 *     only reads and repairs, or with `failClosed: false` also the operator's own tasks (no-rules.ts).
 */
import { dirname } from 'node:path'
import { digestOf } from '../../base/canonical.ts'
import type { Clock } from '../../base/clock.ts'
import { HubError } from '../../base/errors.ts'
import type { Profile } from '../../protocol/flags.ts'
import type { Accepted } from './accepted.ts'
import type { PolicyData } from './data.ts'
import type { Engine, PolicyDecision } from './engine.ts'
import { type HomeBundle, type HomeTerms, readHomeBundle } from './home-bundle.ts'
import { builtInRules, noRules } from './no-rules.ts'
import { type Bundle, filesOf, type PolicyFiles, readShipped, refuse, type ShippedBundle } from './shipped.ts'
import { type TrialParts, type TriedRules, tryRules } from './trials.ts'

const MEMO_GENERATION_MAX = 2048
const MEMO_KEY_CHARS_MAX = 4096

/** The commit that holds exactly these files of a folder; undefined for files that are in none. */
export type CommitOf = (folder: string, names: readonly string[]) => string | undefined

/** What hub.yaml asks of the rules. */
export interface PolicyTerms {
  /** Without rules nothing starts; false: the operator's own tasks do, by built-in rules. */
  failClosed: boolean
  requireSignature: boolean
  /** Whose signature: the base64 of an Ed25519 public key. */
  publicKey?: string
  /** `production` and `strict` refuse files that are not committed, `strict` also what is not signed. */
  profile?: Profile
}
export const SHIPPED_TERMS: PolicyTerms = { failClosed: true, requireSignature: false }

export interface ActivePolicy {
  readonly bundle: Bundle
  /** What decides: the shipped rules, then the operator's. */
  readonly engine: Engine
  /** Each alone, for an explanation; undefined if there are none. */
  readonly shipped?: Engine
  readonly home?: TriedRules['home']
  readonly tryWith?: TriedRules['tryWith']
  readonly memo: Memo<PolicyDecision>
  /** Undefined if no rules are in force. */
  readonly data?: PolicyData
  readonly dataDigest: string
  /** Of bundle, data and the operator's rules together. */
  readonly revision: string
  readonly dataCommit?: string
  readonly isSigned: boolean
  /** `accepted`: the files were refused at the start, and what was accepted before rules. */
  readonly from: 'files' | 'accepted' | 'built-in' | 'none'
  readonly loadedAtMs: number
}

export interface PolicyStatus {
  version: number
  revision: string
  wasmSha256: string
  dataDigest: string
  dataCommit?: string
  from: ActivePolicy['from']
  /** The operator's own rules; null if they have none. */
  home: { revision: string; files: string[] } | null
  signed: boolean
  loadedAtMs: number
  builtins: string[]
  memoSize: number
}

export interface Policy {
  active(): ActivePolicy
  status(): PolicyStatus
  /** Swaps whole, or throws `policy_unavailable` and keeps the old one. */
  reload(): void
  /** Why what was found at the start does not rule (B5); undefined if it does. */
  unloaded(): HubError | undefined
  /** One listener hears every question that the module gave no exact answer to. */
  onFault(listener: (reason: string) => void): void
}

export interface PolicyParts extends TrialParts {
  clock: Clock
  /** Without it nothing is kept. */
  accepted?: Accepted
  /** The commit of these files of a folder, if they are in a repository and as committed. */
  commitOf?: CommitOf
  /** Hears what is to be done if the open transaction is undone. Without it a reload is in none. */
  onRollback?: (undo: () => void) => void
}

/** Rules that passed every check and trial, not yet in force. */
interface Candidate {
  shipped: ShippedBundle
  home: HomeBundle
  active: ActivePolicy
}

/**
 * Loads at once; throws `policy_unavailable` with the file and what is wrong with it.
 * `bundleDir` holds the shipped files with their digests, `dataPath` the operator's data; `versionMin` is the newest version used so far.
 * With `goesWithoutRules` it does not throw, and `unloaded` says what was wrong (B5).
 */
export function createPolicy(
  options: {
    bundleDir: string
    dataPath: string
    versionMin?: number
    goesWithoutRules?: boolean
    terms?: PolicyTerms
  },
  parts: PolicyParts,
): Policy {
  const { accepted, clock } = parts
  const terms = options.terms ?? SHIPPED_TERMS
  const folder = dirname(options.dataPath)
  const oldest = options.versionMin ?? 0
  let unloaded: HubError | undefined
  let tellFault: (reason: string) => void = () => undefined
  let active = first()

  function first(): ActivePolicy {
    try {
      return taken(load(oldest), true)
    } catch (thrown) {
      if (!(thrown instanceof HubError) || !options.goesWithoutRules) throw thrown
      unloaded = thrown
      return fallen(thrown)
    }
  }

  /** What rules if the files do not: what was accepted before, or nothing. */
  function fallen(why: HubError): ActivePolicy {
    const home = accepted?.files('home')
    const shipped = why.facts.broken === 'data' ? undefined : accepted?.files('shipped')
    try {
      if (home !== undefined) return load(oldest, { home, shipped }).active
    } catch (thrown) {
      if (!(thrown instanceof HubError)) throw thrown
    }
    return withoutRules(why.message, terms.failClosed, clock.wallMs())
  }

  /** Keeps what was accepted. On a disk that is full at the start it rules all the same, and is kept later. */
  function taken({ shipped, home, active: loaded }: Candidate, isStart: boolean): ActivePolicy {
    try {
      accepted?.keep('shipped', shipped.files)
      accepted?.keep('home', home.files)
    } catch (thrown) {
      if (!isStart) throw thrown
    }
    return loaded
  }

  function load(versionMin: number, kept?: { home: PolicyFiles; shipped: PolicyFiles | undefined }): Candidate {
    const shipped = readShipped(kept?.shipped ?? filesOf(options.bundleDir))
    if (shipped.bundle.version < versionMin)
      throw new HubError(
        'policy_unavailable',
        `the rules of this version (${shipped.bundle.version}) are older than those this hub has already used (${versionMin}); start the newer version again, or go back to the copy made before the update: hub undo-update`,
        { facts: { broken: 'bundle' } },
      )
    // What was accepted was committed as was asked then. A signature that is asked for now is asked of it too.
    const home = readHomeBundle(kept?.home ?? filesOf(folder), homeTermsOf(terms))
    const dataCommit = kept === undefined ? requireCommit(folder, home, terms, parts) : undefined
    const from = kept === undefined ? 'files' : 'accepted'
    const engines = tryRules(shipped, home, (reason) => tellFault(reason), parts)
    const { bundle } = shipped
    const { data, dataDigest, isSigned, rules } = home
    const revision = { bundle: bundle.revision, data: dataDigest, ...(rules && { home: rules.revision }) }
    const loaded: ActivePolicy = {
      ...{ bundle, data, dataDigest, isSigned, from, ...engines },
      memo: createMemo<PolicyDecision>(MEMO_GENERATION_MAX, MEMO_KEY_CHARS_MAX),
      revision: digestOf('hub.policy.revision', revision),
      ...(dataCommit === undefined ? {} : { dataCommit }),
      loadedAtMs: clock.wallMs(),
    }
    return { shipped, home, active: loaded }
  }

  return {
    active: () => active,
    status: () => statusOf(active),
    reload() {
      const before = { active, unloaded }
      active = taken(load(Math.max(oldest, active.bundle.version)), false)
      unloaded = undefined
      // No rules rule without the record of their reload.
      parts.onRollback?.(() => {
        active = before.active
        unloaded = before.unloaded
      })
    },
    unloaded: () => unloaded,
    onFault(listener) {
      tellFault = listener
    },
  }
}

function homeTermsOf({ requireSignature, publicKey, profile }: PolicyTerms): HomeTerms {
  return {
    mustBeSigned: requireSignature || profile === 'strict',
    ...(publicKey === undefined ? {} : { publicKey }),
  }
}

function statusOf({ bundle, home, ...active }: ActivePolicy): PolicyStatus {
  return {
    version: bundle.version,
    revision: bundle.revision,
    wasmSha256: bundle.wasmSha256,
    dataDigest: active.dataDigest,
    ...(active.dataCommit === undefined ? {} : { dataCommit: active.dataCommit }),
    from: active.from,
    home: home === undefined ? null : { revision: home.revision, files: [...home.sources.keys()] },
    signed: active.isSigned,
    loadedAtMs: active.loadedAtMs,
    builtins: bundle.builtins,
    memoSize: active.memo.size,
  }
}

/** The commit that holds exactly these files. Throws where the profile asks for one and there is none (S1-13, fault D3). */
function requireCommit(
  folder: string,
  home: HomeBundle,
  { profile = 'standard' }: PolicyTerms,
  { commitOf = () => undefined }: PolicyParts,
): string | undefined {
  const commit = commitOf(folder, [...home.files.keys()])
  if (commit === undefined && (profile === 'production' || profile === 'strict'))
    throw refuse(
      `policy/ is not as it was committed, and profile ${profile} takes nothing else`,
      undefined,
      'data',
      `commit it: \`git -C ${folder} add --all && git -C ${folder} commit\`, then \`hub policy reload\``,
    )
  return commit
}

/** A bounded memo of questions and answers: two generations, of which the older is forgotten as a whole, so that what is in use stays (T66). */
export interface Memo<Value> {
  get(key: string): Value | undefined
  set(key: string, value: Value): void
  clear(): void
  readonly size: number
}

/** At most `2 * generationMax` entries, each with a key of at most `keyCharsMax` characters; a longer one is not remembered. */
function createMemo<Value>(generationMax: number, keyCharsMax: number): Memo<Value> {
  let young = new Map<string, Value>()
  let old = new Map<string, Value>()

  function add(key: string, value: Value): void {
    if (young.size >= generationMax) {
      old = young
      young = new Map()
    }
    young.set(key, value)
  }
  return {
    get(key) {
      const fresh = young.get(key)
      if (fresh !== undefined) return fresh
      const aged = old.get(key)
      if (aged === undefined) return undefined
      old.delete(key)
      add(key, aged)
      return aged
    },
    set(key, value) {
      if (key.length <= keyCharsMax) add(key, value)
    },
    clear() {
      young = new Map()
      old = new Map()
    },
    get size() {
      return young.size + old.size
    },
  }
}

/** Its values cannot be taken for a version or a digest. */
function withoutRules(why: string, failClosed: boolean, nowMs: number): ActivePolicy {
  return {
    bundle: { version: 0, revision: 'none', opaVersion: '', wasmSha256: 'none', sources: {}, trials: {}, builtins: [] },
    engine: failClosed ? noRules(why) : builtInRules(why),
    memo: createMemo<PolicyDecision>(MEMO_GENERATION_MAX, MEMO_KEY_CHARS_MAX),
    dataDigest: 'none',
    revision: failClosed ? 'none' : 'built-in',
    isSigned: false,
    from: failClosed ? 'none' : 'built-in',
    loadedAtMs: nowMs,
  }
}
