import { describe, expect, it } from 'vitest'
import { sizeShape, spanShape, spanText } from '../../../hub/protocol/spans.ts'

describe('spans and sizes', () => {
  it.each([
    ['1ms', 1],
    ['45s', 45_000],
    ['10m', 600_000],
    ['24h', 86_400_000],
    ['7d', 604_800_000],
  ])('reads the span %s as %d ms', (text, ms) => expect(spanShape.parse(text)).toBe(ms))

  it.each([
    ['1B', 1],
    ['4KiB', 4096],
    ['256MiB', 268_435_456],
    ['8GiB', 8_589_934_592],
    ['200MB', 200_000_000],
    ['3kB', 3000],
    ['2GB', 2_000_000_000],
  ])('reads the size %s as %d bytes', (text, bytes) => expect(sizeShape.parse(text)).toBe(bytes))

  it.each([
    '',
    '10',
    '0s',
    '-1s',
    '1.5h',
    '10 m',
    ' 10m',
    '10M',
    '1w',
    '1e3s',
    '0x10s',
    '9999999999s',
    '10mm',
    '١s',
    '1KiB',
  ])('refuses the span %j: a span without a known unit is a guess', (text) =>
    expect(spanShape.safeParse(text).success).toBe(false),
  )

  it.each(['10', '0B', '1KB', '1kib', '1gb', '1TiB', '999999999GiB5', '1m'])('refuses the size %j', (text) =>
    expect(sizeShape.safeParse(text).success).toBe(false),
  )

  it.each([
    [0, '0s'],
    [499, '0s'],
    [45_000, '45s'],
    [59_999, '1m'],
    [90_000, '1m 30s'],
    [5_400_000, '1h 30m'],
    [86_400_000, '1d'],
    [93_784_000, '1d 2h 3m'],
  ])('writes %d ms as %s', (ms, text) => expect(spanText(ms)).toBe(text))
})
