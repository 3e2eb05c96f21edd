/** Like `views.ts`: what is shown of the rules, of what they decided, and why. */
import { z } from 'zod'
import { uuidShape } from './ids.ts'
import { count, instant, kept } from './views.ts'

export const policyShape = z.strictObject({
  version: z.int(),
  revision: z.string(),
  wasmSha256: z.string(),
  dataDigest: z.string(),
  dataCommit: z.string().optional().describe('where policy/ stands in a repository'),
  from: z
    .enum(['files', 'accepted', 'built-in', 'none'])
    .describe(
      'what rules: the present files; those accepted before, if the present ones were refused at the start; the built-in rules; or nothing',
    ),
  home: kept(z.strictObject({ revision: z.string(), files: z.array(z.string()) })).describe("the operator's own rules"),
  signed: z.boolean().describe("the operator's rules carry a signature by `policy.publicKey`"),
  loadedAtMs: instant,
  builtins: z.array(z.string()),
  memoSize: count.describe('remembered decisions'),
  refused: kept(z.string()).describe('why the last reload was refused, while the rules before it are in force'),
  warnings: z.array(z.string()).describe('names in policy/data.json that nothing has'),
})

export const policyFilesShape = z.strictObject({
  data: kept(z.record(z.string(), z.unknown())).describe('policy/data.json; null without rules'),
  sources: z.array(z.strictObject({ name: z.string(), text: z.string() })).describe("the operator's own rules"),
})

const narrowingShape = z.strictObject({
  capabilities: z.array(z.string()).optional(),
  agents: z.array(z.string()).optional(),
  ttlMs: z.int().optional(),
})
const verdictShape = z.strictObject({
  effect: z.enum(['allow', 'ask', 'deny']),
  reason: z.string(),
  rule: z.string(),
  code: z.string().optional().describe('of a refusal; without one `policy_denied`'),
  narrow: narrowingShape.optional(),
  path: z
    .strictObject({ kind: z.enum(['internal', 'external']), because: z.array(z.string()) })
    .optional()
    .describe('of an allowed delegation: whether the session could do it itself, and what speaks against it'),
})
export const storedDecisionShape = z.strictObject({
  id: uuidShape,
  atMs: instant,
  input: kept(z.record(z.string(), z.unknown())).describe('what the rules saw; null if it was too long to be kept'),
  result: verdictShape,
  revision: z.string(),
})
export const explanationShape = verdictShape.extend({
  revision: z.string(),
  shipped: verdictShape.describe('what the shipped rules alone say'),
  home: kept(
    z.union([
      z.strictObject({ deny: z.array(z.string()), ask: z.array(z.string()), narrow: z.array(narrowingShape) }),
      z.strictObject({ fault: z.string() }),
    ]),
  ).describe("what the operator's rules say; null if there are none, or they were not asked"),
  rows: z.record(z.string(), z.record(z.string(), z.unknown()).nullable()).describe('the rows that the question names'),
  changes: z
    .array(z.strictObject({ change: z.string(), effect: z.enum(['allow', 'ask', 'deny']) }))
    .describe('what would give another answer'),
  recorded: storedDecisionShape.optional().describe('the decision that was named, as it was made'),
})
