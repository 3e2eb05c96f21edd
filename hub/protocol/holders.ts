/** Requests about what people hold: the contact's card, devices, bearer tokens. */
import { z } from 'zod'
import { nameShape } from './ids.ts'

/** Of people: printed on paper and shown on pages, so no control characters. */
const personShape = z
  .string()
  .min(1)
  .max(80)
  .regex(/^[^\p{Cc}]*$/u, 'must be one line')
export const cardShape = z.strictObject({
  name: personShape,
  operator: personShape,
  expiresAtMs: z.int().positive().optional(),
})
export const codeShape = z.strictObject({ code: z.string().regex(/^\d{6}$/, 'six digits') })
export const DEVICE_RIGHTS = ['view', 'heartbeat', 'approve', 'stop', 'resume'] as const
export const DEVICE_KINDS = ['webhook', 'app'] as const
export type Right = (typeof DEVICE_RIGHTS)[number]
const YEAR_MS = 366 * 86_400_000
/** What records call who is not known, and who answers by the link of a message: nobody else has these names (ask-11). */
const ownName = (...taken: string[]) =>
  nameShape.refine((name) => !taken.includes(name), `the hub's records use this name themselves; choose another`)
const deviceNameShape = ownName('link', 'unknown')

/** A webhook has the one right to give a weak heartbeat; an app those that are named. */
export const deviceAddShape = z
  .strictObject({
    name: deviceNameShape,
    kind: z.enum(DEVICE_KINDS),
    rights: z.array(z.enum(DEVICE_RIGHTS)).max(DEVICE_RIGHTS.length).default([]),
    expiresInMs: z.int().min(60_000).max(YEAR_MS).optional(),
  })
  .refine(
    ({ kind, rights }) => (kind === 'app') === rights.length > 0,
    'rights: an app needs at least one, a webhook takes none',
  )
const CONSOLE_LIFE_MAX_MS = 7 * 86_400_000
/** A console always has view. Its heartbeat is strong, so heartbeat needs resume (docs/safety.md 2). */
export const consoleOpenShape = z
  .strictObject({
    name: deviceNameShape.optional(),
    rights: z
      .array(z.enum(DEVICE_RIGHTS))
      .max(DEVICE_RIGHTS.length)
      .default([...DEVICE_RIGHTS]),
    expiresInMs: z
      .int()
      .min(60_000)
      .max(CONSOLE_LIFE_MAX_MS)
      .default(12 * 3_600_000),
  })
  .refine(({ rights }) => rights.includes('view'), 'rights: a console needs view')
  .refine(
    ({ rights }) => !rights.includes('heartbeat') || rights.includes('resume'),
    'rights: heartbeat from a console is strong and can end safe mode, so it goes with resume',
  )
export const consoleJoinShape = z.strictObject({ code: z.string().max(64) })
/** The rules name what a token can never be given: presence, resuming, approving, contact, devices (docs/protocol.md 6). */
export const tokenCreateShape = z.strictObject({
  name: ownName('unknown'),
  actions: z
    .array(
      z
        .string()
        .max(64)
        .regex(/^[a-z]+\.[a-z-]+$/),
    )
    .min(1)
    .max(32),
  expiresInMs: z.int().min(60_000).max(YEAR_MS),
})
export const deviceRef = z.strictObject({ name: nameShape })
