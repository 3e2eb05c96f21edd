/** The operator's `policy/data.json`: what the rules apply to. What is not in it is refused. */
import { dirname } from 'node:path'
import { z } from 'zod'
import { canonicalText, sha256Hex } from '../../base/canonical.ts'
import { HubError } from '../../base/errors.ts'
import { findJsonFault, placeOf } from '../../base/json-fault.ts'
import { didYouMean } from '../../base/nearest.ts'
import { parseStrictJson } from '../../base/strict-json.ts'
import { agentNameShape, LIMIT_CEILINGS } from '../../protocol/agent.ts'
import { rowBudgetShape } from '../../protocol/budget.ts'
import { dataClassShape } from '../../protocol/data-class.ts'
import { grantsShape } from '../../protocol/egress/grants.ts'
import { nameShape } from '../../protocol/ids.ts'
import { type Fault, firstOf, judgeValue, placesOf } from '../../protocol/judging.ts'
import { isBag } from '../../protocol/keys.ts'
import { rowRelaxShape } from '../../protocol/relax-shape.ts'

const names = z
  .array(nameShape)
  .max(256)
  .default([])
  .refine((list) => new Set(list).size === list.length, 'a name is there twice')

const agentShape = z.strictObject({
  /** People may submit tasks to it. */
  submit: z.boolean().default(false),
  /** The hub may keep one session of it running, if its card has mode service. */
  service: z.boolean().default(false),
  /** No task of it is dispatched. */
  suspended: z.boolean().default(false),
  capabilities: names,
  /** The longest session it may have. */
  ttlMs: z
    .int()
    .positive()
    .refine((ms) => ms <= LIMIT_CEILINGS.ttlMs, {
      error: ({ input }) => `is ${input}; its ceiling is ${LIMIT_CEILINGS.ttlMs} (24 h, in milliseconds)`,
    }),
  message: names,
  delegate: names,
  topics: names,
  secrets: names,
  broadcast: z.boolean().default(false),
  /** The highest class of data of tasks that it takes; null: only tasks without one. */
  sensitivity: dataClassShape.nullable().default(null),
  /** What it may reach outside (docs/egress.md 3). */
  egress: grantsShape.default([]),
  /** Which walls of its container may be moved, and `bypass`, where its card asks for it too (docs/sandbox.md 8, docs/permissions.md). */
  relax: rowRelaxShape.default([]),
  /** The conversation of its CLI may be kept unmasked, where its card asks for it too (docs/agents.md). */
  transcripts: z.boolean().default(false),
  /** Limits of its own on money, tokens and calls of models. */
  budget: rowBudgetShape.optional(),
})

/** Three hundred full rows are what the strict reader takes (4096 keys), far below the memory of the policy module. */
export const policyDataShape = z.strictObject({
  agents: z.record(agentNameShape, agentShape).refine((agents) => Object.keys(agents).length <= 300, 'over 300 agents'),
})
export type PolicyData = z.output<typeof policyDataShape>

const DATA_BYTES_MAX = 1024 * 1024

/** Every fault of the bytes of a data.json, with line and column; the data if there is none. */
export function judgePolicyData(bytes: Buffer): { data: PolicyData | undefined; faults: Fault[] } {
  const whole = (message: string, place = { line: 1, column: 1 }) => ({
    data: undefined,
    faults: [{ ...place, key: '', message }],
  })
  if (bytes.length > DATA_BYTES_MAX) return whole(`larger than ${DATA_BYTES_MAX} bytes`)
  const text = bytes.toString('utf8')
  let given: unknown
  try {
    given = parseStrictJson(bytes)
  } catch (thrown) {
    const fault = findJsonFault(text)
    if (fault !== undefined) return whole(fault.what, placeOf(text, fault.offset))
    const { message, facts } = thrown as HubError
    return whole(message, typeof facts.at === 'number' ? placeOf(text, facts.at) : undefined)
  }
  const { value, faults } = judgeValue(given, policyDataShape, placesOf(text))
  return { data: value, faults }
}

/** Checks the bytes of a data.json and takes their digest. Throws `policy_unavailable` naming line, column and key (T21). */
export function readPolicyData(bytes: Buffer, path: string): { data: PolicyData; digest: string } {
  const { data, faults } = judgePolicyData(bytes)
  if (data !== undefined) return { data, digest: sha256Hex(bytes) }
  throw new HubError(
    'policy_unavailable',
    `${path} ${firstOf(faults)}; correct it (\`hub policy check\`), or take back the last change (\`git -C ${dirname(path)} checkout data.json\`)`,
    { facts: { broken: 'data' } },
  )
}

/** Names in the data that nothing has, each with its place. `agents`: the names of all cards. Pure. */
export function strangersIn(data: PolicyData, agents: readonly string[]): string[] {
  const known = new Set([...agents, ...Object.keys(data.agents)])
  const found: string[] = []
  for (const [name, { message, delegate }] of Object.entries(data.agents)) {
    if (!agents.includes(name)) found.push(`agents.${name}: no card is named ${name}${didYouMean(name, agents)}`)
    for (const [list, names] of Object.entries({ message, delegate }))
      for (const each of names)
        if (!known.has(each)) found.push(`agents.${name}.${list}: no agent is named ${each}${didYouMean(each, known)}`)
  }
  return found
}

/** What the later data changes, one line each: a new or lost row, or each key of a row with what it was and is. Pure. */
export function differenceOf(before: PolicyData, after: PolicyData): string[] {
  const names = [...new Set([...Object.keys(before.agents), ...Object.keys(after.agents)])].sort()
  return names.flatMap((name) => {
    const [was, is] = [rowOf(before, name), rowOf(after, name)]
    if (is === undefined) return [`- agents.${name}`]
    const keys = Object.keys(is) as (keyof PolicyRow)[]
    const lines = keys.flatMap((key) => changeOf(`agents.${name}.${key}`, was?.[key], is[key]))
    return was === undefined ? [`+ agents.${name}`, ...lines] : lines
  })
}

export type PolicyRow = PolicyData['agents'][string]
function rowOf({ agents }: PolicyData, name: string): PolicyRow | undefined {
  return Object.hasOwn(agents, name) ? agents[name] : undefined
}

function changeOf(key: string, was: PolicyRow[keyof PolicyRow] | undefined, is: PolicyRow[keyof PolicyRow]): string[] {
  if (Array.isArray(is)) {
    const before: readonly string[] = Array.isArray(was) ? was : []
    const after: readonly string[] = is
    const added = after.filter((each) => !before.includes(each)).map((each) => `+ ${each}`)
    const lost = before.filter((each) => !after.includes(each)).map((each) => `- ${each}`)
    return added.length + lost.length === 0 ? [] : [`${key}: ${[...added, ...lost].join(', ')}`]
  }
  if (was === is || (was === undefined && (is === false || is === null))) return []
  const [before, after] = [was, is].map((value) => (isBag(value) ? canonicalText(value) : value))
  return before === after ? [] : [`${key}: ${was === undefined ? '' : `${before} -> `}${after}`]
}
