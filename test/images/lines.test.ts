/** The line codec and what is read from its lines: however the bytes are cut, and whatever they are (T6, T25, T27). */
import fc from 'fast-check'
import { afterEach, expect, test, vi } from 'vitest'
import { expandArgv } from '../../images/agent/argv.ts'
import { createLineSplitter, type Line, lineOf } from '../../images/agent/lines.ts'
import { createLogLines } from '../../images/agent/log-lines.ts'
import { readVerb } from '../../images/agent/verbs.ts'

afterEach(() => void vi.useRealTimers())

/** Cuts at the given places, in any order, and feeds the pieces one by one. */
function split(bytes: Buffer, cuts: readonly number[], bytesMax?: number): Line[] {
  const splitter = createLineSplitter(bytesMax)
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b)
  const lines = places.slice(1).flatMap((end, at) => {
    // As a stream's buffer may be: overwritten once it was handed over.
    const chunk = Buffer.from(bytes.subarray(places[at], end))
    const found = splitter.push(chunk)
    chunk.fill(0)
    return found
  })
  return [...lines, ...splitter.end()]
}
const cuts = fc.array(fc.nat(1e6), { maxLength: 40 })
const text = fc.string({ unit: 'binary', maxLength: 40 })

test('any cut of any sequence of messages yields the same messages', () => {
  fc.assert(
    fc.property(fc.array(fc.dictionary(text, fc.jsonValue()), { maxLength: 12 }), cuts, (messages, at) => {
      const bytes = Buffer.from(messages.map(lineOf).join(''))
      const read = split(bytes, at).map(({ bytes: line }) => JSON.parse(line.toString()) as unknown)
      expect(read).toEqual(JSON.parse(JSON.stringify(messages)))
    }),
  )
})

test('any cut of any bytes yields the same lines, none longer than the limit, and those after a long one are whole', () => {
  const chunk = fc.oneof(fc.uint8Array({ maxLength: 30 }), fc.constant(Uint8Array.of(10)))
  fc.assert(
    fc.property(fc.array(chunk, { maxLength: 30 }), cuts, fc.integer({ min: 1, max: 40 }), (chunks, at, bytesMax) => {
      const bytes = Buffer.concat(chunks)
      const expected = bytes.toString('latin1').split('\n')
      if (expected.at(-1) === '') expected.pop()
      const lines = split(bytes, at, bytesMax)
      expect(lines.map((line) => line.tooLong ?? line.bytes.length)).toEqual(expected.map((line) => line.length))
      for (const [index, line] of lines.entries()) {
        expect(line.tooLong === undefined).toBe((expected[index]?.length ?? 0) <= bytesMax)
        expect(expected[index]?.startsWith(line.bytes.toString('latin1'))).toBe(true)
        expect(line.bytes.length).toBeLessThanOrEqual(bytesMax)
      }
    }),
  )
})

test('whatever a line holds, reading it ends in an operation or in a fault with a code, and never throws', () => {
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
    fc.jsonValue().map((value) => Buffer.from(JSON.stringify(value))),
    fc
      .record(
        {
          op: fc.constantFrom('log', 'result', 'send', 'x', 1),
          id: fc.anything(),
          text: fc.anything(),
          value: fc.jsonValue(),
        },
        { requiredKeys: [] },
      )
      .map((value) =>
        Buffer.from(JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? `${each}` : each)) ?? ''),
      ),
  )
  fc.assert(
    fc.property(anything, (bytes) => {
      const read = readVerb({ bytes })
      if ('error' in read) expect(read.error.code).toMatch(/^(?:schema_invalid|unknown_operation)$/)
      else expect(['log', 'result']).toContain(read.op)
    }),
    { numRuns: 300 },
  )
})

test.each([
  ['{"op":"log","text":"x","text":"y"}', 'schema_invalid'],
  ['{"op":"log","__proto__":{},"text":"x"}', 'schema_invalid'],
  ['{"op":"log","text":"x","more":1}', 'schema_invalid'],
  ['{"op":"log","text":7}', 'schema_invalid'],
  ['{"op":"progress","id":"","done":1}', 'schema_invalid'],
  ['{"op":"request","to":"agent:a","type":"t"}', 'schema_invalid'],
  ['{"op":"constructor"}', 'unknown_operation'],
  ['[]', 'schema_invalid'],
  ['\ufeff{"op":"log","text":"x"}', 'schema_invalid'],
])('%s is refused as %s', (line, code) => {
  expect(readVerb({ bytes: Buffer.from(line) })).toMatchObject({ error: { code } })
})

test('a value stays inside its element of argv and is not read again, whatever it holds', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      fc.pre(!a.includes('\0') && !b.includes('\0'))
      const hostile = `${a}{input} {param:b}; $(reboot) "${b}"`
      const { argv } = expandArgv(['x', '--a={param:a}={param:b}', '{input}'], {
        input: '/in',
        params: { a: hostile, b },
      })
      expect(argv).toEqual(['x', `--a=${hostile}=${b}`, '/in'])
    }),
  )
})

test('a parameter that is not there, or an input that was not given, is refused by name', () => {
  const given = { input: undefined, params: { n: 5, deep: { a: 1 } } }
  expect(expandArgv(['{param:n}', '{param:deep}', '{print $1}'], given)).toEqual({
    argv: ['5', '{"a":1}', '{print $1}'],
    namesInput: false,
  })
  expect(() => expandArgv(['{param:toString}'], given)).toThrow('--param toString=')
  expect(() => expandArgv(['{input}'], given)).toThrow('needs an input')
  expect(() => expandArgv(['{param:z}'], { input: undefined, params: { z: 'a\0b' } })).toThrow('NUL')
})

test('T57: a log that grows faster than its rate keeps its end, says how much is missing, and stays in order', async () => {
  const posted: string[] = []
  const log = createLogLines({ post: async (line) => void posted.push(line), linesMax: 20, burst: 5, everyMs: 10 })
  for (let line = 0; line < 10_000; line += 1) log.add(`line ${line}`)
  // Longer than any machine takes.
  await log.flush(120_000)
  expect(posted.length).toBeLessThan(40)
  expect(posted.at(-1)).toBe('line 9999')
  const missing = posted.map((line) => Number(/^\.\.\. (\d+) lines left out/.exec(line)?.[1] ?? 0))
  const lines = posted.flatMap((line) => (line.startsWith('line') ? [Number(line.slice(5))] : []))
  expect(missing.reduce((sum, count) => sum + count, 0) + lines.length).toBe(10_000)
  expect(lines).toEqual([...lines].sort((a, b) => a - b))
})

test('a log whose hub takes long for each line gets its end all the same, and is told how much is missing', async () => {
  vi.useFakeTimers()
  const posted: string[] = []
  const post = async (line: string) => {
    await new Promise((resolve) => setTimeout(resolve, 40))
    posted.push(line)
  }
  const log = createLogLines({ post })
  for (let line = 0; line < 200; line += 1) log.add(`line ${line}`)
  let isOver = false
  void log.flush(1_000).then(() => {
    isOver = true
  })
  await vi.advanceTimersByTimeAsync(1_000)
  expect([isOver, posted.at(-1)]).toEqual([true, 'line 199'])
  const lines = posted.filter((line) => line.startsWith('line'))
  expect(posted).toContain(`... ${200 - lines.length} lines left out ...`)
})

test('a log whose hub does not answer holds nobody up', async () => {
  vi.useFakeTimers()
  const log = createLogLines({ post: () => new Promise(() => {}) })
  log.add('never said')
  let isOver = false
  void log.flush(30).then(() => {
    isOver = true
  })
  await vi.advanceTimersByTimeAsync(29)
  expect(isOver).toBe(false)
  await vi.advanceTimersByTimeAsync(1)
  expect(isOver).toBe(true)
})
