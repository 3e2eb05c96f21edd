/** `alerts` of hub.yaml: channels, zone, quiet hours. Secrets are named (`...From`), never written there. */
import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { ALERTS_FILE, isLogPlace, LOG_PLACE } from '../../base/log-place.ts'
import { nameShape } from '../../protocol/ids.ts'
import { sizeShape } from '../../protocol/spans.ts'

const MIB = 1024 ** 2
/** One line of text, without control characters. */
export const line = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .refine((text) => !/\p{Cc}/u.test(text), 'holds a control character')

/** One plain address: no display name, no comment, no quoted or second one, so that no two parsers read it differently (T38). */
const mailAddress = z
  .string()
  .max(254)
  .regex(/^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,189}$/, 'must be one plain address, such as me@example.org')

/** `host:port`, as the host stands in the URL. */
const hostPort = z
  .string()
  .max(260)
  .regex(/^(?:[a-z0-9.-]+|\[[0-9a-f:.]+\]):\d{1,5}$/, 'must be host:port, such as 127.0.0.1:9093')

/** A single one needs no list around it. */
const hostPorts = z
  .preprocess((given) => (typeof given === 'string' ? [given] : given), z.array(hostPort).max(8))
  .default([])

/** Where something is posted to. */
export const sending = {
  url: line(2000).optional().describe('where it goes'),
  /** A secret that holds the whole address; `hosts` then says where it may lead. */
  urlFrom: nameShape.optional().describe('a secret that holds the whole address'),
  hosts: hostPorts.describe('with `urlFrom`: the `host:port` it may lead to'),
  /** Of those, what is on this machine or in a private network. */
  local: hostPorts.describe('of those, what is on this machine or in a private network'),
}
/** Requires one of the two forms of an address. */
export const oneAddress = <
  Shape extends z.ZodType<{ url?: string | undefined; urlFrom?: string | undefined; hosts: string[] }>,
>(
  shape: Shape,
) =>
  shape.superRefine(({ url, urlFrom, hosts }, context) => {
    const wrong = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message })
    if ((url === undefined) === (urlFrom === undefined)) wrong('url', 'give either url or urlFrom')
    if (urlFrom !== undefined && hosts.length === 0) wrong('hosts', 'with urlFrom, list the host:port it may lead to')
    if (url !== undefined && !URL.canParse(url)) wrong('url', 'must be an address, such as https://example.org/path')
  })

/** This machine itself, where a message does not cross a network. */
export const isLoopback = (host: string): boolean => ['localhost', '127.0.0.1', '::1'].includes(host)

const named = { name: nameShape.optional().describe('the name of the channel; without it, its kind') }
const email = z
  .strictObject({
    ...named,
    kind: z.literal('email'),
    host: line(253).describe('of the mail server'),
    port: z.int().min(1).max(65_535).optional().describe('of the mail server'),
    /** TLS from the first byte; else STARTTLS, which is required unless the server is on this machine. */
    secure: z.boolean().default(false).describe('TLS from the first byte; else STARTTLS is required'),
    /** A file of certificates (PEM) that are trusted in place of the system's. */
    caFile: line(1000)
      .refine((file) => isAbsolute(file), 'must be an absolute path')
      .optional()
      .describe("certificates that are trusted in place of the system's"),
    /** No TLS, whatever the server offers; only to this machine. */
    plain: z.boolean().default(false).describe('no TLS; only to this machine'),
    from: mailAddress.describe('who writes'),
    to: z
      .preprocess((given) => (typeof given === 'string' ? [given] : given), z.array(mailAddress).min(1).max(8))
      .describe('who is told'),
    user: line(200).optional().describe('to log in with'),
    passwordFrom: nameShape.optional().describe('the secret that holds the password'),
  })
  .superRefine(({ host, plain, secure, caFile }, context) => {
    const wrong = (message: string) => context.addIssue({ code: 'custom', path: ['plain'], message })
    if (!plain) return
    if (!isLoopback(host)) wrong('works only for a relay on this machine: localhost, 127.0.0.1 or ::1')
    if (secure || caFile !== undefined) wrong('means without TLS; remove secure and caFile')
  })
const webhook = oneAddress(
  z.strictObject({
    ...named,
    kind: z.literal('webhook'),
    ...sending,
    secretFrom: nameShape.optional().describe('the secret that signs what is sent'),
  }),
)
const push = oneAddress(
  z.strictObject({
    ...named,
    kind: z.literal('push'),
    ...sending,
    tokenFrom: nameShape.optional().describe('the secret that holds the token of the ntfy server'),
  }),
)
const command = z.strictObject({
  ...named,
  kind: z.literal('command'),
  /** Program and arguments, as they are: no shell reads them. */
  run: z
    .array(line(1000))
    .min(1)
    .max(32)
    .refine(([program = '']) => isAbsolute(program), 'the program must be an absolute path')
    .describe('program, by its absolute path, and arguments; no shell reads them'),
})
const file = z.strictObject({
  ...named,
  kind: z.literal('file'),
  /** Within the home, or absolute. */
  path: line(1000)
    .refine(isLogPlace, LOG_PLACE)
    .default(ALERTS_FILE)
    .describe('below `logs/` of the home, or absolute; no other lines go there'),
  sizeMax: sizeShape.default(8 * MIB).describe('beyond it a new file is begun'),
})
export const channelShape = z.discriminatedUnion('kind', [email, webhook, push, command, file])
type Given = z.output<typeof channelShape>
/** A channel as configured, with its name, or its kind as its name. */
export type ChannelSettings = Given & { name: string }
export type Settings<Kind extends Given['kind']> = Extract<ChannelSettings, { kind: Kind }>

const clockTime = z.string().regex(/^(?:[01]\d|2[0-3]):[0-5]\d$/, 'must be a time of day, such as "22:00"')

const isZone = (zone: string): boolean => {
  try {
    new Intl.DateTimeFormat('en-GB', { timeZone: zone })
    return true
  } catch {
    return false
  }
}

export const alertsShape = z.strictObject({
  channels: z
    .array(channelShape)
    .min(1, 'list at least one channel, or remove the key: then alerts go to the file logs/alerts.log')
    .max(8)
    .transform((channels, context): ChannelSettings[] => {
      const withNames = channels.map((channel) => ({ ...channel, name: channel.name ?? channel.kind }))
      for (const [at, { name }] of withNames.entries())
        if (withNames.findIndex((other) => other.name === name) !== at)
          context.addIssue({ code: 'custom', path: [at], message: `two channels are called ${name}; give each a name` })
      return withNames
    })
    .optional()
    .describe('who is told; without any, the file `logs/alerts.log` alone'),
  /** IANA name, for times in messages and quiet hours; '' is this machine's. */
  zone: z
    .string()
    .max(64)
    .refine((zone) => zone === '' || isZone(zone), 'must be an IANA time zone, such as Europe/Berlin')
    .default('')
    .describe("IANA zone of times in messages and of quiet hours; empty: this machine's"),
  /** Local times between which warnings do not go by push. */
  quiet: z
    .strictObject({ from: clockTime.describe('its beginning, as "22:00"'), to: clockTime.describe('its end') })
    .optional()
    .describe('between these local times a warning by push waits'),
})
export type AlertSettings = z.output<typeof alertsShape>

const DEFAULT_CHANNEL: Settings<'file'> = {
  kind: 'file',
  name: 'file',
  path: ALERTS_FILE,
  sizeMax: 8 * MIB,
}
export const channelsOf = ({ channels }: AlertSettings): readonly ChannelSettings[] => channels ?? [DEFAULT_CHANNEL]
