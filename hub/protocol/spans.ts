/** Spans and sizes as people write them (`10m`, `256MiB`) and as the hub counts them. */
import { z } from 'zod'

const SPAN_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }
const SIZE_BYTES: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

function parse(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^(\d{1,9})([a-zA-Z]{1,3})$/.exec(text)
  const unit = match?.[2] === undefined ? undefined : units[match[2]]
  return match?.[1] === undefined || unit === undefined ? undefined : Number(match[1]) * unit
}

const withUnits = (what: string, units: Readonly<Record<string, number>>) =>
  z.string().transform((text, context) => {
    const value = parse(text, units)
    if (value !== undefined && value > 0 && Number.isSafeInteger(value)) return value
    context.addIssue({
      code: 'custom',
      message: `a ${what} is a whole number above 0 and a unit of ${Object.keys(units).join(', ')}`,
    })
    return z.NEVER
  })

/** `10m` to milliseconds. Zero and bare numbers are refused: a span without unit is a guess. */
export const spanShape = withUnits('span', SPAN_MS)
/** `256MiB` to bytes. */
export const sizeShape = withUnits('size', SIZE_BYTES)

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
