/** `retention:` of hub.yaml: how long the hub keeps what is done, and how much of its logs. */
import { z } from 'zod'
import { sizeShape, spanShape } from '../../protocol/spans.ts'

export const DAY_MS = 86_400_000
export const FOREVER = 'forever'

/** A zero is no span of keeping, it is an order to delete everything; whoever means that has to say it to `hub prune`. */
const isNothing = (value: unknown) =>
  /^\s*[-+]?0*(\.0*)?\s*[a-z]*\s*$/i.test(String(value)) || /^\s*-/.test(String(value))

const orForever = <Shape extends z.ZodType<number>>(shape: Shape, what: string, least: number, leastText: string) =>
  z.unknown().transform((value, context): number => {
    const refuse = (message: string) => {
      context.addIssue({ code: 'custom', message })
      return z.NEVER
    }
    if (value === FOREVER) return Number.POSITIVE_INFINITY
    const right = `say a ${what} of at least ${leastText}, or ${FOREVER}`
    if ((typeof value === 'number' || typeof value === 'string') && /\d/.test(String(value)) && isNothing(value))
      return refuse(`${String(value)} would delete everything at once; ${right}`)
    const parsed = shape.safeParse(value)
    if (!parsed.success) return refuse(`${JSON.stringify(value)} is no ${what}; ${right}`)
    if (parsed.data < least) return refuse(`${String(value)} is too little; ${right}`)
    return parsed.data
  })

const keptFor = orForever(spanShape, 'span', DAY_MS, '1d')
const keptUpTo = orForever(sizeShape, 'size', 1024 ** 2, '1MiB')

export const retentionShape = z.strictObject({
  /** Ended tasks with their attempts, sessions and questions. */
  tasks: keptFor.default(30 * DAY_MS),
  /** What tasks left and what was sent for them, once no task that stands names it. */
  artifacts: keptFor.default(30 * DAY_MS),
  /** Evidence of quarantined sessions, and what is withheld of them (S1-66). */
  evidence: keptFor.default(90 * DAY_MS),
  /** Alerts that are over and told. */
  alerts: keptFor.default(30 * DAY_MS),
  /** Months of the audit log that ended longer ago leave the database; their signed files stay for ever. */
  audit: keptFor.default(30 * DAY_MS),
  /** All files of `logs/` together; the ones that are being written are counted and never taken. */
  logs: keptUpTo.default(200 * 1024 ** 2),
})
/** Spans in milliseconds, `logs` in bytes; infinite: for ever. */
export type RetentionSettings = z.output<typeof retentionShape>

export const RETENTION_DEFAULTS: RetentionSettings = retentionShape.parse({})
