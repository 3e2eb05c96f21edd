/** T26: a text of 50 000 characters costs a check less than 5 ms, wherever a pattern looks at it; on a slow machine, no more than a linear pattern may. */
import type { IncomingMessage } from 'node:http'
import { expect, test } from 'vitest'
import type { z } from 'zod'
import { createRedaction } from '../../../hub/base/redaction.ts'
import { parseStrictJson } from '../../../hub/base/strict-json.ts'
import { clean } from '../../../hub/client/cli/text.ts'
import { readRange, requireContentType } from '../../../hub/edge/http-answers.ts'
import { alertText, causeText } from '../../../hub/guard/alerts/wording.ts'
import { publicKeyOf } from '../../../hub/guard/identity/signed-requests.ts'
import { agentCardShape } from '../../../hub/protocol/agent.ts'
import { delegateBodyShape, envelopeShape, parseAddress } from '../../../hub/protocol/envelope.ts'
import * as names from '../../../hub/protocol/ids.ts'
import { OPERATIONS, type Operation, type OperationName } from '../../../hub/protocol/operations.ts'
import { templatesIn, wordFaults } from '../../../hub/protocol/runs/template.ts'
import { sizeShape, spanShape } from '../../../hub/protocol/spans.ts'
import { requireName } from '../../../hub/work/artifacts.ts'
import { growthFault } from '../../support/fastest.ts'

const LENGTH = 50_000
/** An escape may write one character as six: so much of a text is as many characters of JSON at most. */
const part = (text: string, of: number) => text.slice(0, Math.floor(text.length / 6 / of))
/** The text, `times` as long as usual. */
type Text = (times: number) => string
const of =
  (unit: string, tail = ''): Text =>
  (times) => {
    const length = LENGTH * times
    return unit.repeat(Math.ceil(length / unit.length)).slice(0, length - tail.length) + tail
  }
const within =
  (head: string, text: Text, tail = ''): Text =>
  (times) =>
    head + text(times) + tail
const ADVERSARIAL: readonly Text[] = [
  of('a'),
  of('a', '!'),
  of('a.'),
  of('a.', '.'),
  of('a-', '_'),
  of('-'),
  of('.'),
  of('../'),
  of('a/'),
  of('0'),
  of('0', 'x'),
  of('f', 'g'),
  of(' '),
  of('\t \t', 'x'),
  of('\\'),
  of('"'),
  of('\\"'),
  of('a,'),
  of('0-', '-'),
  within('bytes=', of('0')),
  within('bytes=', of('0-')),
  within('agent:', of('a')),
  within('topic:', of('a-'), '!'),
  of('agent:'),
  of('\u0130'),
  of('\u202e'),
  of('\ud83d\ude00'),
  of('\ud83d'),
  of('A_', '-'),
  of('1h', 'x'),
  of('-eyJaaaaaaaaa'),
  of('token-'),
  of('a://a:'),
  of('a1-_'),
  of('token-1 '),
  of('f0f0f0f0 '),
  of('-----BEGIN PRIVATE KEY-----'),
  of('bearer '),
  of('Authorization: Bearer '),
  of('sk-'),
  of('{{'),
  of('{{a.', '}}'),
  of('{{ params.a }}'),
  of('eyJaaaaaaaa.'),
  of('eyJaaaaaaaa'),
]

const tolerant = (check: (text: string) => unknown) => (text: string) => {
  try {
    return check(text)
  } catch {
    return undefined
  }
}
const byShape = (shape: z.ZodType, wrap: (text: string) => unknown = (text) => text) =>
  tolerant((text) => shape.safeParse(wrap(text)))

const fieldChecks = (Object.entries(OPERATIONS) as [OperationName, Operation][]).flatMap(([name, { request }]) =>
  Object.keys((request as z.ZodObject).shape ?? {}).map(
    (field) => [`${name} ${field}`, byShape(request, (text) => ({ [field]: text }))] as const,
  ),
)
/** Of values that the texts below hold the beginnings of, again and again. */
const redaction = createRedaction()
for (const [at, value] of [`${'a1-_'.repeat(2000)}!`, `${'token-1 '.repeat(9)}end`, 'f0f0f0f0 f0f0f0g'].entries())
  redaction.know(`secret-${at}`, Buffer.from(value))

const CHECKS: (readonly [string, (text: string) => unknown])[] = [
  ...Object.entries(names).map(([name, shape]) => [name, byShape(shape)] as const),
  ...Object.keys(envelopeShape.shape).map(
    (field) => [`envelope ${field}`, byShape(envelopeShape, (text) => ({ [field]: text }))] as const,
  ),
  ...Object.keys(delegateBodyShape.shape).map(
    (field) => [`delegate ${field}`, byShape(delegateBodyShape, (text) => ({ [field]: [text] }))] as const,
  ),
  ...Object.keys(agentCardShape.shape).map(
    (field) => [`card ${field}`, byShape(agentCardShape, (text) => ({ [field]: text }))] as const,
  ),
  ['card env', byShape(agentCardShape.shape.env, (text) => ({ [text]: text }))],
  ...fieldChecks,
  ['span', byShape(spanShape)],
  ['size', byShape(sizeShape)],
  ['template', (text) => templatesIn(text, [])],
  ['template in a command', (text) => wordFaults([text])],
  ['address', tolerant(parseAddress)],
  ['range', tolerant((text) => readRange(text, 100))],
  [
    'content type',
    tolerant((text) =>
      requireContentType({ headersDistinct: { 'content-type': [text] } } as unknown as IncomingMessage, 'a'),
    ),
  ],
  ['artifact name', tolerant(requireName)],
  ['alert text', tolerant((text) => alertText(text, redaction.text))],
  ['alert cause', tolerant((text) => causeText(text, redaction.text))],
  ['redacted text', redaction.text],
  ['redacted piece', redaction.piece],
  ['redacted value', (text) => redaction.value({ [text]: text })],
  ['secret in a text', redaction.secretIn],
  ['public key', tolerant(publicKeyOf)],
  ['json text', tolerant((text) => parseStrictJson(text))],
  ['json string', tolerant((text) => parseStrictJson(JSON.stringify(part(text, 1))))],
  ['json key', tolerant((text) => parseStrictJson(JSON.stringify({ [part(text, 2)]: part(text, 2) })))],
]

const shown = (text: Text) => JSON.stringify(text(1).slice(0, 20))

test('T26: every pattern of the entrances is linear and capped', async () => {
  expect(CHECKS.length).toBeGreaterThan(60)
  const slow: string[] = []
  for (const text of ADVERSARIAL) {
    const made = new Map([1, 4].map((times) => [times, text(times)] as const))
    for (const [name, check] of CHECKS) {
      const fault = await growthFault(5, (times) => () => check(made.get(times) ?? ''))
      if (fault !== undefined) slow.push(`${name}: ${fault}, for ${shown(text)}`)
    }
  }
  expect(slow).toEqual([])
})

test('T26: what the terminal escapes is linear too', async () => {
  for (const text of ADVERSARIAL) {
    // Escaping is work for each character, and never more than that.
    const fault = await growthFault(100, (times) => {
      const all = text(times)
      return () => clean(all)
    })
    expect(fault, shown(text)).toBeUndefined()
  }
})
