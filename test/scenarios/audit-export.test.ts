/** `hub audit export` and `hub audit verify --file`: the log leaves the hub whole, and is judged where no hub is (T83, X14). */
import { generateKeyPairSync } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { canonicalText } from '../../hub/base/canonical.ts'
import { HubError } from '../../hub/base/errors.ts'
import type { AuditRecord } from '../../hub/protocol/audit-chain.ts'
import { createExportJudge, headerLine } from '../../hub/protocol/audit-export.ts'
import { runHub } from '../support/fake-hub.ts'
import { createHarness } from '../support/hub-harness.ts'

/** More than two pages of 500, signed at several places. */
const RECORDS = 1100
let place: string
let file: string
let key: string
let head: string
let size: number

beforeAll(async () => {
  place = mkdtempSync(join(tmpdir(), 'audit-'))
  await using h = await createHarness({ agents: {} })
  writeFileSync(join(h.home, 'instance'), h.instance)
  for (let n = 1; n <= RECORDS; n += 1) {
    const call = {
      principal: { kind: 'operator', id: 'operator' },
      operation: 'health.show',
      resource: `n${n}`,
    } as const
    h.hub.guard.gate.refuse(call, new HubError('schema_invalid', 'made up: ü \u2028'))
    if (n % 250 === 0) h.hub.guard.checkpoints.take()
  }
  h.hub.guard.checkpoints.take()
  ;({ size, head } = h.hub.guard.audit.head())
  file = join(place, 'log.jsonl')
  const { code, stderr } = await runHub(h.home, ['audit', 'export', '--out', file])
  expect(code, stderr).toBe(0)
  expect(stderr).toContain(`${size} records`)
  const piped = await runHub(h.home, ['audit', 'export'])
  expect(piped.stdout.startsWith(readFileSync(file, 'utf8').split('\n')[1]?.slice(0, 20) ?? '')).toBe(false)
  expect(piped.stdout.split('\n').length).toBeGreaterThanOrEqual(size)
  key = join(place, 'checkpoint.pub')
  writeFileSync(key, readFileSync(join(h.home, 'keys', 'checkpoint.pub')))
})
afterAll(() => rmSync(place, { recursive: true }))

const lines = () => readFileSync(file, 'utf8').trimEnd().split('\n')
/** What is found in a file of these lines by a machine without any hub. */
function judge(given: readonly string[], expected: { publicKey?: string; head?: string } = {}) {
  const one = createExportJudge({ publicKey: readFileSync(key, 'utf8'), ...expected })
  for (const line of given) if (!one.take(line)) break
  return one.end().fault?.reason
}
const at = (mark: (line: string) => boolean) => lines().findIndex(mark)
const changed = (index: number, change: (line: string) => string) => lines().with(index, change(lines()[index] ?? ''))
const signedAt = () => at((line) => line.includes('"signature"'))

test('an export holds every record and every signed head, private to its owner, and is whole on a machine without a hub [audit-5, audit-26, audit-27]', async () => {
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(lines().filter((line) => line.includes('"seq"'))).toHaveLength(size)
  expect(lines().filter((line) => line.includes('"signature"')).length).toBeGreaterThan(4)
  expect(judge(lines())).toBeUndefined()
  expect(judge(lines(), { head })).toBeUndefined()
  const empty = join(place, 'no-hub')
  mkdirSync(empty)
  const found = await runHub(empty, ['audit', 'verify', '--file', file, '--key', key, '--head', head.slice(0, 16)])
  expect(found.code).toBe(0)
  expect(found.stdout).toContain(`whole: ${size} records`)
  expect(found.stdout).toContain(head)
  const alone = await runHub(empty, ['audit', 'verify', '--file', file])
  expect([alone.code, alone.stderr]).toEqual([0, expect.stringContaining('the key was taken from the file itself')])
  expect(existsSync(join(empty, '.hub'))).toBe(false)
})

test('T83: a record that was changed, taken out, put in, moved or given another field is found, and named by its line [audit-27]', async () => {
  const tenth = at((line) => /"seq":10[,}]/.test(line))
  const line = lines()[tenth] ?? ''
  expect(judge(changed(tenth, (text) => text.replace('refused', 'ok')))).toMatch(/at record 10: its content/)
  expect(judge(lines().toSpliced(tenth, 1))).toMatch(/record 10 is missing/)
  expect(judge(lines().toSpliced(tenth, 0, line))).toMatch(/10 follows/)
  expect(judge(lines().toSpliced(tenth - 1, 2, line, lines()[tenth - 1] ?? ''))).toMatch(/record 9 is missing/)
  const more = canonicalText({ ...JSON.parse(line), approved: 'by the operator' })
  expect(judge(lines().with(tenth, more))).toMatch(/record 10 is not as it was written/)
  expect(judge(changed(tenth, (text) => text.replace('{', '{"seq":10,')))).toMatch(/record 10 is not as it was written/)
  const broken = join(place, 'broken.jsonl')
  writeFileSync(broken, changed(tenth, (text) => text.replace('refused', 'ok')).join('\n'))
  const found = await runHub(place, ['audit', 'verify', '--file', broken, '--key', key])
  expect([found.code, found.stdout]).toEqual([1, expect.stringContaining(`BROKEN: line ${tenth + 1}: at record 10`)])
})

test('X14: a tail that was cut is found, with a header that was changed along by the head kept elsewhere [audit-28]', () => {
  expect(judge(lines().slice(0, -3))).toMatch(/it ends after record/)
  const signed = signedAt()
  const short = lines().slice(0, signed + 1)
  expect(judge(short)).toMatch(/it ends after record/)
  const { data: last } = JSON.parse(short[signed] ?? '') as { data: { size: number; head: string } }
  const header = canonicalText({ ...JSON.parse(short[0] ?? ''), size: last.size, head: last.head })
  expect(judge(short.with(0, header))).toBeUndefined()
  expect(judge(short.with(0, header), { head })).toMatch(/does not contain the head/)
  const unsigned = lines().filter((line) => !line.includes('"signature"'))
  expect(judge(unsigned)).toMatch(/no checkpoint signs what follows/)
})

test('a signed head that was changed, taken out, moved or made with another key is found [audit-27]', () => {
  const signed = signedAt()
  expect(judge(changed(signed, (text) => text.replace(/"wallMs":\d/, '"wallMs":9')))).toMatch(/wrong signature/)
  expect(judge(lines().toSpliced(signed, 1))).toMatch(/does not follow the one before it/)
  expect(judge(lines().toSpliced(signed - 1, 2, lines()[signed] ?? '', lines()[signed - 1] ?? ''))).toMatch(
    /does not follow the record it signs/,
  )
  const other = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' }) as string
  expect(judge(lines(), { publicKey: other })).toMatch(/signed with another key/)
  const theirs = canonicalText({ ...JSON.parse(lines()[0] ?? ''), publicKey: other })
  expect(judge(lines().with(0, theirs))).toMatch(/signed with another key/)
})

/** As an earlier version wrote it: records and signed heads without CloudEvents around them. */
const bare = () => {
  const { instance, publicKey } = JSON.parse(lines()[0] ?? '') as { instance: string; publicKey: string }
  const inner = lines()
    .slice(1)
    .map((line) => canonicalText((JSON.parse(line) as { data: object }).data))
  return [headerLine({ instance, publicKey, size, head }, 'hub-audit-export-v1'), ...inner]
}

test('each line is a CloudEvent whose id is the hash of its record, and its attributes are judged with it (S1-64) [audit-26, audit-27]', () => {
  const { instance } = JSON.parse(lines()[0] ?? '') as { instance: string }
  const events = lines()
    .slice(1)
    .map((line) => JSON.parse(line) as Record<string, string> & { data: AuditRecord })
  for (const { data, ...attributes } of events) {
    expect(attributes).toMatchObject({ specversion: '1.0', source: `/hub/${instance}` })
    if (!('seq' in data)) expect(attributes).toMatchObject({ type: 'hub.audit.signed.v1' })
    else {
      const time = new Date(data.atMs).toISOString()
      expect(attributes).toMatchObject({ id: data.hash, type: `hub.audit.${data.action}.v1`, time })
      expect(attributes.subject).toBe(data.resource === '' ? undefined : data.resource)
    }
  }
  expect(new Set(events.map(({ id }) => id)).size).toBe(events.length)
  const tenth = at((line) => /"seq":10[,}]/.test(line))
  for (const change of [
    (line: string) => line.replace('"subject":"', '"subject":"x'),
    (line: string) => line.replace('"specversion":"1.0"', '"specversion":"1.1"'),
    (line: string) => line.replace(`/hub/${instance}`, '/hub/other'),
    (line: string) => line.replace('"id":"', '"id":"0'),
    (line: string) => `${line.slice(0, -1)},"more":1}`,
  ])
    expect(judge(changed(tenth, change))).toMatch(/record 10 is not as it was written/)
  expect(judge(changed(signedAt(), (line) => line.replace('"subject":"record:', '"subject":"record:9')))).toMatch(
    /is not as it was written/,
  )
})

test('an export of an earlier version is whole as it was, and every change in it is found as before [audit-27]', async () => {
  const old = bare()
  expect(judge(old, { head })).toBeUndefined()
  const tenth = old.findIndex((line) => /"seq":10[,}]/.test(line))
  expect(judge(old.with(tenth, old[tenth]?.replace('refused', 'ok') ?? ''))).toMatch(/at record 10: its content/)
  expect(judge(old.toSpliced(tenth, 1))).toMatch(/record 10 is missing/)
  expect(judge(old.slice(0, -1))).toMatch(/no checkpoint signs|it ends after/)
  // Neither form holds lines of the other.
  expect(judge(old.with(tenth, lines()[tenth] ?? ''))).toMatch(/cannot be judged|not as it was written|does not follow/)
  expect(judge(lines().with(tenth, old[tenth] ?? ''))).toMatch(/it has no data/)
  const kept = join(place, 'earlier.jsonl')
  writeFileSync(kept, `${old.join('\n')}\n`)
  const found = await runHub(place, ['audit', 'verify', '--file', kept, '--key', key])
  expect([found.code, found.stdout]).toEqual([0, expect.stringContaining(`whole: ${size} records`)])
})

test('what is no export is refused by name and never believed: empty, text, a line without an end [audit-27]', async () => {
  expect(judge([])).toBe('it is empty')
  expect(judge(['{}'])).toMatch(/does not begin as/)
  expect(judge(['hello'])).toBe('it is not JSON')
  expect(judge([lines()[0] ?? '', 'null'])).toBe('it is not an object')
  expect(judge([lines()[0] ?? '', '{"seq":1}'])).toMatch(/record 1|cannot be judged/)
  expect(judge([lines()[0] ?? '', '{"signature":5}'])).toMatch(/cannot be judged|does not follow/)
  const long = join(place, 'long')
  writeFileSync(long, 'x'.repeat(3_000_000))
  expect((await runHub(place, ['audit', 'verify', '--file', long])).stdout).toContain('line 1: it is longer than')
  const missing = await runHub(place, ['audit', 'verify', '--file', join(place, 'none')])
  expect([missing.code, missing.stderr]).toEqual([2, expect.stringContaining('ENOENT')])
  expect((await runHub(place, ['audit', 'verify', '--file', file, '--head', 'zz'])).code).toBe(2)
})
