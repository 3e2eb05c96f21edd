/** To what the rules apply: the operator's `policy/data.json`. The rules say how, this says to what; what is not in it is refused. */
import { dirname } from 'node:path'
import { z } from 'zod'
import { sha256Hex } from '../../base/canonical.ts'
import { HubError } from '../../base/errors.ts'
import { parseStrictJson } from '../../base/strict-json.ts'
import { LIMIT_CEILINGS } from '../../protocol/agent.ts'
import { nameShape } from '../../protocol/names.ts'

const names = z
  .array(nameShape)
  .max(256)
  .default([])
  .refine((list) => new Set(list).size === list.length, 'a name stands twice')

const agentShape = z.strictObject({
  /** People may submit tasks to it. */
  submit: z.boolean().default(false),
  /** The hub may keep one session of it running, if its card is of mode service. */
  service: z.boolean().default(false),
  /** Nothing of it is dispatched. */
  suspended: z.boolean().default(false),
  capabilities: names,
  /** The longest session it may have. */
  ttlMs: z.int().positive().max(LIMIT_CEILINGS.ttlMs),
  message: names,
  delegate: names,
  topics: names,
  secrets: names,
  broadcast: z.boolean().default(false),
  egress: z.array(z.string().min(1).max(253)).max(64).default([]),
})

/** Three hundred full rows are what the strict reader takes (4096 keys), far below the memory of the policy module. */
export const policyDataShape = z.strictObject({
  agents: z.record(nameShape, agentShape).refine((agents) => Object.keys(agents).length <= 300, 'over 300 agents'),
})
export type PolicyData = z.output<typeof policyDataShape>

export const DATA_BYTES_MAX = 1024 * 1024

/** Checks the bytes of a data.json and takes their digest. Throws `policy_unavailable` naming the path of the bad value (T21). */
export function readPolicyData(bytes: Buffer, path: string): { data: PolicyData; digest: string } {
  const refuse = (why: string) =>
    new HubError(
      'policy_unavailable',
      `${path}: ${why}; correct it, or take back the last change (git -C ${dirname(path)} checkout data.json)`,
    )
  if (bytes.length > DATA_BYTES_MAX) throw refuse(`larger than ${DATA_BYTES_MAX} bytes`)
  let value: unknown
  try {
    value = parseStrictJson(bytes)
  } catch (thrown) {
    throw refuse((thrown as Error).message)
  }
  const parsed = policyDataShape.safeParse(value)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw refuse(`${issue?.path.join('.') || 'the whole'}: ${issue?.message}`)
  }
  return { data: parsed.data, digest: sha256Hex(bytes) }
}
