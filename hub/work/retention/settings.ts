/** `retention:` of hub.yaml: how long the hub keeps what is done, and how much of its logs. */
import { z } from 'zod'
import { sizeShape, spanShape } from '../../protocol/spans.ts'

export const DAY_MS = 86_400_000
const FOREVER = 'forever'

/** Zero is no time to keep something, but an order to delete everything. Who means that must use `hub prune`. */
const isNothing = (value: unknown) =>
  /^\s*[-+]?0*(\.0*)?\s*[a-z]*\s*$/i.test(String(value)) || /^\s*-/.test(String(value))

const orForever = <Shape extends z.ZodType<number>>(shape: Shape, what: string, least: number, leastText: string) =>
  z
    .unknown()
    .transform((value, context): number => {
      const refuse = (message: string) => {
        context.addIssue({ code: 'custom', message })
        return z.NEVER
      }
      if (value === FOREVER) return Number.POSITIVE_INFINITY
      const right = `give a ${what} of at least ${leastText}, or ${FOREVER}`
      if ((typeof value === 'number' || typeof value === 'string') && /\d/.test(String(value)) && isNothing(value))
        return refuse(`${String(value)} would delete everything at once; ${right}`)
      const parsed = shape.safeParse(value)
      if (!parsed.success) return refuse(`${JSON.stringify(value)} is not a ${what}; ${right}`)
      if (parsed.data < least) return refuse(`${String(value)} is too little; ${right}`)
      return parsed.data
    })
    .meta({ unit: what, least: `${leastText}, or ${FOREVER}` })

const keptFor = orForever(spanShape, 'span', DAY_MS, '1d')
const keptUpTo = orForever(sizeShape, 'size', 1024 ** 2, '1MiB')

export const retentionShape = z.strictObject({
  /** Ended tasks with their attempts, sessions and questions. */
  tasks: keptFor.default(30 * DAY_MS).describe('ended tasks; what anybody still needs stays'),
  /** What tasks left and what was sent for them, once no kept task names it. */
  artifacts: keptFor.default(30 * DAY_MS).describe('what tasks left or were given, once no task names it'),
  /** Evidence of sessions that were stopped for security, and what is withheld of them (S1-66). */
  evidence: keptFor
    .default(90 * DAY_MS)
    .describe(
      'evidence of sessions that were stopped for security, and what was set aside when something else took its place',
    ),
  /** Alerts that are over and told. */
  alerts: keptFor.default(30 * DAY_MS).describe('alerts that are over'),
  /** Months of the audit log that ended longer ago leave the database. Their signed files stay for ever. */
  audit: keptFor
    .default(30 * DAY_MS)
    .describe('how long a month of the audit log stays in the database after its end; its signed file stays for ever'),
  /** All files of `logs/` together. The ones that are being written count but are never deleted. */
  logs: keptUpTo.default(200 * 1024 ** 2).describe('all files of `logs/` together'),
})
/** Spans in milliseconds, `logs` in bytes. Infinite: for ever. */
export type RetentionSettings = z.output<typeof retentionShape>
