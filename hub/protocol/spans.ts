/** Spans and sizes as people write them (`10m`, `256MiB`) and as the hub counts them. */
import { z } from 'zod'

const SPAN_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const SIZE_BYTES: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  kB: 1000,
  MB: 1000 ** 2,
  GB: 1000 ** 3,
}

function parse(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^(\d{1,9})([a-zA-Z]{1,3})$/.exec(text)
  const unit = match?.[2] === undefined ? undefined : units[match[2]]
  return match?.[1] === undefined || unit === undefined ? undefined : Number(match[1]) * unit
}

const withUnits = (units: Readonly<Record<string, number>>, example: string) =>
  z.unknown().transform((given, context) => {
    const value = typeof given === 'string' ? parse(given, units) : undefined
    if (value !== undefined && value > 0 && Number.isSafeInteger(value)) return value
    context.addIssue({
      code: 'custom',
      message:
        given === undefined
          ? 'is missing'
          : `must be a whole number above 0 with a unit (${Object.keys(units).join(', ')}), as ${example}`,
    })
    return z.NEVER
  })

/** `10m` to milliseconds. Zero and bare numbers are refused: a span without unit is a guess. */
export const spanShape = withUnits(SPAN_MS, '10m').meta({ unit: 'span' })
/** `256MiB` or `200MB` to bytes. */
export const sizeShape = withUnits(SIZE_BYTES, '64MiB').meta({ unit: 'size' })

const written = (value: number, units: readonly (readonly [string, number])[]): string => {
  const [unit, one] = units.find(([, each]) => value >= each && value % each === 0) ?? ['', 1]
  return `${value / one}${unit}`
}
/** Milliseconds as they are written in a card or in hub.yaml: `48h`, `90s`. */
export const spanWritten = (ms: number): string =>
  written(ms, [
    ['h', 3_600_000],
    ['m', 60_000],
    ['s', 1000],
    ['ms', 1],
  ])
/** Bytes as they are written there: `512MiB`, `200MB`. */
export const sizeWritten = (bytes: number): string =>
  written(bytes, [
    ['GiB', 1024 ** 3],
    ['MiB', 1024 ** 2],
    ['GB', 1000 ** 3],
    ['MB', 1000 ** 2],
    ['KiB', 1024],
    ['kB', 1000],
    ['B', 1],
  ])

/** Milliseconds as a person reads them: `10m`, `1h 30m`, `45s`. */
export function spanText(ms: number): string {
  const seconds = Math.round(ms / 1000)
  const [d, h, m, s] = [
    Math.floor(seconds / 86_400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
    seconds % 60,
  ]
  const parts = [
    d > 0 ? `${d}d` : '',
    h > 0 ? `${h}h` : '',
    m > 0 ? `${m}m` : '',
    s > 0 && d === 0 && h === 0 ? `${s}s` : '',
  ]
  return parts.filter((part) => part !== '').join(' ') || '0s'
}
