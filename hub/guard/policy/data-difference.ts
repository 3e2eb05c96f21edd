/**
 * What has changed in the operator's data and rules since they were last recorded (S1-13, fault C12). The audit log names the difference, not
 * only that the files were read, even if one was changed by hand while the hub was down.
 */
import { sha256Hex } from '../../base/canonical.ts'
import type { Meta } from '../../store/meta.ts'
import type { Policy } from './bundle.ts'
import { differenceOf, type PolicyData, policyDataShape } from './data.ts'

const LINES_MAX = 40
const TEXT_MAX = 2000

export interface PolicyChanges {
  /** The difference from what was recorded last, as one text for an audit record; undefined if there is none, or nothing was recorded yet. */
  sinceRecorded(): string | undefined
  /** Records what is in force now, inside the transaction of the record that names the difference. */
  record(): void
}

type Digests = Readonly<Record<string, string>>

const DIFF_LINES_MAX = 1000

/** The lines that two texts do not share, in order: `-` of the first, `+` of the second. Pure. */
function linesChanged(before: string, after: string): string[] {
  const [old, fresh] = [before.split('\n'), after.split('\n')]
  if (old.length > DIFF_LINES_MAX || fresh.length > DIFF_LINES_MAX) return ['too long to be shown line by line']
  // The longest common part, from the ends backwards.
  const common = Array.from({ length: old.length + 1 }, () => new Array<number>(fresh.length + 1).fill(0))
  const at = (i: number, j: number) => common[i]?.[j] ?? 0
  for (let i = old.length - 1; i >= 0; i -= 1)
    for (let j = fresh.length - 1; j >= 0; j -= 1)
      (common[i] as number[])[j] = old[i] === fresh[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1))
  const lines: string[] = []
  for (let i = 0, j = 0; i < old.length || j < fresh.length; ) {
    if (i < old.length && j < fresh.length && old[i] === fresh[j]) {
      i += 1
      j += 1
    } else if (j >= fresh.length || (i < old.length && at(i + 1, j) >= at(i, j + 1))) lines.push(`- ${old[i++]}`)
    else lines.push(`+ ${fresh[j++]}`)
  }
  return lines
}

/** The operator's part of rules: what `hub policy show` answers, and what a folder holds. */
export interface PolicyTexts {
  data: PolicyData | null
  sources: readonly { name: string; text: string }[]
}

/** What the later files would change, one line each: rows of the data, then each file of rules by its lines. Pure. */
export function filesDifference(before: PolicyTexts, after: PolicyTexts): string[] {
  const ofData = differenceOf(before.data ?? { agents: {} }, after.data ?? { agents: {} })
  const texts = ({ sources }: PolicyTexts) => new Map(sources.map(({ name, text }) => [name, text]))
  const [old, fresh] = [texts(before), texts(after)]
  const names = [...new Set([...old.keys(), ...fresh.keys()])].sort()
  return [
    ...ofData,
    ...names.flatMap((name) => {
      const [was, is] = [old.get(name), fresh.get(name)]
      if (was === is) return []
      const head = was === undefined ? `+ ${name}` : is === undefined ? `- ${name}` : name
      return [
        head,
        ...linesChanged(was ?? '', is ?? '')
          .filter((line) => line.length > 2)
          .map((line) => `  ${line}`),
      ]
    }),
  ]
}

/** One line for each file of rules that is new, gone or another: its digest tells which text it was. Pure. */
function rulesChanged(before: Digests, after: Digests): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()
  return names.flatMap((name) => {
    const [was, is] = [before[name]?.slice(0, 12), after[name]?.slice(0, 12)]
    if (was === is) return []
    if (is === undefined) return [`- ${name}`]
    return [was === undefined ? `+ ${name} (${is})` : `${name}: ${was} -> ${is}`]
  })
}

export function createPolicyChanges(parts: {
  policy: Pick<Policy, 'active'>
  meta: Pick<Meta, 'get' | 'set'>
}): PolicyChanges {
  const { policy, meta } = parts

  function recorded(): PolicyData | undefined {
    const text = meta.get('policy_data')
    if (text === undefined) return undefined
    try {
      // Read by today's shape: data of an earlier version gets the defaults of keys that came later.
      return policyDataShape.parse(JSON.parse(text))
    } catch {
      return undefined
    }
  }
  /** The operator's rules in force: the digest of each file, by its name. */
  function rulesInForce(): Digests {
    const sources = [...(policy.active().home?.sources ?? [])]
    return Object.fromEntries(sources.map(([name, text]) => [name, sha256Hex(text)]))
  }
  return {
    sinceRecorded() {
      const { data } = policy.active()
      const before = recorded()
      if (data === undefined || before === undefined) return undefined
      const rules = JSON.parse(meta.get('policy_rules') ?? '{}') as Digests
      const lines = [...differenceOf(before, data), ...rulesChanged(rules, rulesInForce())]
      if (lines.length === 0) return undefined
      const more = lines.length > LINES_MAX ? [`and ${lines.length - LINES_MAX} more`] : []
      return [...lines.slice(0, LINES_MAX), ...more].join('; ').slice(0, TEXT_MAX)
    },
    record() {
      const { data } = policy.active()
      if (data === undefined) return
      meta.set('policy_data', JSON.stringify(data))
      meta.set('policy_rules', JSON.stringify(rulesInForce()))
    },
  }
}
