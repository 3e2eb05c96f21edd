/** `audit` of hub.yaml: where the audit log is forwarded to. Secrets are named (`...From`), never written there. */
import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { HubError } from '../../base/errors.ts'
import { isLogPlace, LOG_PLACE } from '../../base/log-place.ts'
import { nameShape } from '../../protocol/ids.ts'
import { line, oneAddress, sending } from '../alerts/settings.ts'

const named = { name: nameShape.optional().describe('its name in `hub status` and alerts; without it, its kind') }
const from = z
  .enum(['beginning', 'now'])
  .default('beginning')
  .describe('where a new one begins: with the first record of the log, or with the next one')

const file = z.strictObject({
  ...named,
  kind: z.literal('file'),
  path: line(1000)
    .refine(isLogPlace, LOG_PLACE)
    .describe(
      'below `logs/` of the home, or absolute. Lines are only appended, and it is opened anew for each batch, so logrotate may rename it',
    ),
  from,
})

const WHY_NOT = {
  udp: 'a datagram is lost without a word, and longer ones are cut',
  unix: 'the local socket of a syslog service takes datagrams, which Node cannot send',
} as const

/** Both exist, and are refused by name. */
function supported(transport: 'tls' | 'tcp' | keyof typeof WHY_NOT): 'tls' | 'tcp' {
  if (transport === 'tls' || transport === 'tcp') return transport
  throw new HubError(
    'unsupported_mode',
    `audit.forward: syslog over ${transport} is not supported: ${WHY_NOT[transport]}; use tls, or tcp with local: true (for rsyslog: module imtcp)`,
  )
}

const syslog = z
  .strictObject({
    ...named,
    kind: z.literal('syslog'),
    host: line(253).describe('of the receiver'),
    port: z.int().min(1).max(65_535).default(6514).describe('of the receiver'),
    transport: z
      .enum(['tls', 'tcp', 'udp', 'unix'])
      .default('tls')
      .transform(supported)
      .describe('`tls`, or `tcp` to what is local; `udp` and `unix` are refused by name'),
    local: z.boolean().default(false).describe('whether it is on this machine or in a private network'),
    caFile: line(1000)
      .refine((path) => isAbsolute(path), 'must be an absolute path')
      .optional()
      .describe("certificates that are trusted in place of the system's"),
    from,
  })
  .superRefine(({ host, port, transport, local, caFile }, context) => {
    const wrong = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message })
    if (transport === 'tcp' && !local) wrong('transport', 'tcp is not encrypted; use tls, or say local: true')
    if (transport === 'tcp' && caFile !== undefined) wrong('caFile', 'goes with tls')
    if (!URL.canParse(`https://${host}:${port}/`)) wrong('host', 'must be a host name or an address')
  })

const webhook = oneAddress(
  z.strictObject({
    ...named,
    kind: z.literal('webhook'),
    ...sending,
    secretFrom: nameShape.optional().describe('the secret that signs what is sent'),
    from,
  }),
)

const targetShape = z.discriminatedUnion('kind', [file, syslog, webhook])
type Given = z.output<typeof targetShape>
/** A target as configured, with its name, or its kind as its name. */
export type TargetSettings = Given & { name: string }
export type Target<Kind extends Given['kind']> = Extract<TargetSettings, { kind: Kind }>

export const auditShape = z.strictObject({
  forward: z
    .array(targetShape)
    .max(4)
    .transform((targets, context): TargetSettings[] => {
      const withNames = targets.map((target) => ({ ...target, name: target.name ?? target.kind }))
      for (const [at, { name }] of withNames.entries())
        if (withNames.findIndex((other) => other.name === name) !== at)
          context.addIssue({ code: 'custom', path: [at], message: `two of them are called ${name}; give each a name` })
      return withNames
    })
    .default([])
    .describe('where every signed record is sent as well; nowhere without it'),
})
