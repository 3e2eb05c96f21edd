/** What the operator is told of declared upstreams: all of them, and what came of trying one. Shapes only. */
import { z } from 'zod'
import { nameShape } from '../ids.ts'
import { priceViewShape } from '../prices.ts'
import { egressProposalsShape } from '../views-guard.ts'

const micro = z.int().describe('millionths of a US dollar')
const text = z.string()

const keyShape = z
  .strictObject({
    from: z.enum(['file', 'program', 'none']).describe('where the key comes from'),
    name: nameShape.nullable().describe('of the secret; null unless it is a file'),
    problem: text.nullable().describe('why it cannot be used; null if it can, or if a program prints it'),
    mend: text.nullable(),
  })
  .describe('its key, never the value')

/** One agent whose card or row names the upstream. */
const reacherShape = z.strictObject({
  agent: nameShape,
  card: z.array(text).describe('what its card asks for'),
  row: z.array(text).describe('what policy/data.json grants'),
  has: z.array(text).describe('what both permit: this counts'),
})

const upstreamViewShape = z.strictObject({
  name: nameShape,
  kind: text,
  url: text,
  local: z.boolean(),
  free: z.boolean().describe('its models cost no money'),
  key: keyShape,
  reachedBy: z.array(reacherShape),
  models: z
    .array(
      z.strictObject({ model: text, problem: text.nullable().describe('why it has no price; null if it has one') }),
    )
    .describe('what cards name and what was called today'),
  quota: z
    .strictObject({ untilMs: z.int(), why: text })
    .nullable()
    .describe('its quota is used up, and it is looked at again then'),
  restsUntilMs: z.int().nullable().describe('it broke off two answers in a row, and nobody calls it until then'),
  today: z.strictObject({
    spentUsd: micro.describe('what was spent, in millionths of a US dollar'),
    estimatedUsd: micro.describe('the part of it that nobody measured'),
    input: z.int().describe('tokens sent'),
    output: z.int().describe('tokens received'),
    calls: z.int(),
  }),
})
export type UpstreamView = z.output<typeof upstreamViewShape>

/** What came of one try. */
const upstreamTriedShape = z.strictObject({
  name: nameShape,
  ok: z.boolean(),
  asked: text.nullable().describe('method and path; null if only a connection was made'),
  address: text.nullable().describe('the address that took the connection'),
  tls: text.nullable().describe('the version of TLS; null without a connection, or if it is http'),
  connectMs: z.int().nullable(),
  status: z.int().nullable(),
  answerMs: z.int().nullable().describe('from the request to the head of the answer'),
  key: z
    .enum(['taken', 'refused', 'unknown', 'none'])
    .describe('unknown: the answer does not show whether the key was looked at'),
  detail: text.describe('what happened, in words'),
  mend: text.describe('what to do; empty if nothing is'),
})
export type UpstreamTried = z.output<typeof upstreamTriedShape>

/** Rows of the table of answers (protocol/answers.ts). */
export const UPSTREAM_ANSWERS = {
  'egress.proposals': {
    does: 'What agents were refused outside by the rules, newest first.',
    answer: egressProposalsShape,
  },
  'upstream.price': {
    does: 'What a model costs at an upstream.',
    answer: z.strictObject({ price: priceViewShape }),
  },
  'upstream.list': {
    does: 'Every declared upstream: its key, who may reach it, prices, pauses, and what it cost today.',
    answer: z.strictObject({ day: text, upstreams: z.array(upstreamViewShape) }),
  },
  'upstream.test': {
    does: 'Makes a call to an upstream that costs nothing, and says what happened.',
    answer: z.strictObject({ tried: upstreamTriedShape }),
  },
}
