/** `alerts` of hub.yaml: channels, zone, quiet hours. Secrets are named (`...From`), never written there. */
import { isAbsolute } from 'node:path'
import { z } from 'zod'
import { nameShape } from '../../protocol/names.ts'
import { sizeShape } from '../../protocol/spans.ts'

const MIB = 1024 ** 2
const line = (max: number) =>
  z
    .string()
    .min(1)
    .max(max)
    .refine((text) => !/\p{Cc}/u.test(text), 'holds a control character')

/** One plain address: no display name, no comment, no quoted or second one, so that no two parsers read it differently (T38). */
const mailAddress = z
  .string()
  .max(254)
  .regex(/^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,189}$/, 'must be one plain address, as me@example.org')

/** `host:port`, as the host stands in the URL. */
const hostPort = z
  .string()
  .max(260)
  .regex(/^(?:[a-z0-9.-]+|\[[0-9a-f:.]+\]):\d{1,5}$/, 'must be host:port, as 127.0.0.1:9093')

/** One may stand alone, without a list around it. */
const hostPorts = z
  .preprocess((given) => (typeof given === 'string' ? [given] : given), z.array(hostPort).max(8))
  .default([])

const sending = {
  url: line(2000).optional(),
  /** A secret that holds the whole address; then `hosts` says where it may lead. */
  urlFrom: nameShape.optional(),
  hosts: hostPorts,
  /** Of those, what is on this machine or in a private network. */
  local: hostPorts,
}
const oneAddress = <
  Shape extends z.ZodType<{ url?: string | undefined; urlFrom?: string | undefined; hosts: string[] }>,
>(
  shape: Shape,
) =>
  shape.superRefine(({ url, urlFrom, hosts }, context) => {
    const wrong = (path: string, message: string) => context.addIssue({ code: 'custom', path: [path], message })
    if ((url === undefined) === (urlFrom === undefined)) wrong('url', 'give either url or urlFrom')
    if (urlFrom !== undefined && hosts.length === 0) wrong('hosts', 'with urlFrom, list the host:port it may lead to')
    if (url !== undefined && !URL.canParse(url)) wrong('url', 'must be an address, as https://example.org/path')
  })

/** This machine itself, where a letter passes no wire. */
export const isLoopback = (host: string): boolean => ['localhost', '127.0.0.1', '::1'].includes(host)

const named = { name: nameShape.optional() }
const email = z
  .strictObject({
    ...named,
    kind: z.literal('email'),
    host: line(253),
    port: z.int().min(1).max(65_535).optional(),
    /** TLS from the first byte; else STARTTLS, which is required but to this machine itself. */
    secure: z.boolean().default(false),
    /** A file of certificates (PEM) that are trusted in place of the system's. */
    caFile: line(1000)
      .refine((file) => isAbsolute(file), 'must be an absolute path')
      .optional(),
    /** No TLS, whatever the server offers; to this machine alone. */
    plain: z.boolean().default(false),
    from: mailAddress,
    to: z.preprocess((given) => (typeof given === 'string' ? [given] : given), z.array(mailAddress).min(1).max(8)),
    user: line(200).optional(),
    passwordFrom: nameShape.optional(),
  })
  .superRefine(({ host, plain, secure, caFile }, context) => {
    const wrong = (message: string) => context.addIssue({ code: 'custom', path: ['plain'], message })
    if (!plain) return
    if (!isLoopback(host)) wrong('is for a relay on this machine alone: localhost, 127.0.0.1 or ::1')
    if (secure || caFile !== undefined) wrong('means without TLS; leave out secure and caFile')
  })
const webhook = oneAddress(
  z.strictObject({ ...named, kind: z.literal('webhook'), ...sending, secretFrom: nameShape.optional() }),
)
const push = oneAddress(
  z.strictObject({ ...named, kind: z.literal('push'), ...sending, tokenFrom: nameShape.optional() }),
)
const command = z.strictObject({
  ...named,
  kind: z.literal('command'),
  /** Program and arguments, as they are: no shell reads them. */
  run: z
    .array(line(1000))
    .min(1)
    .max(32)
    .refine(([program = '']) => isAbsolute(program), 'the program must be an absolute path'),
})
const file = z.strictObject({
  ...named,
  kind: z.literal('file'),
  /** Within the home, or absolute. */
  path: line(1000).default('logs/alerts.log'),
  sizeMax: sizeShape.default(8 * MIB),
})
const channelShape = z.discriminatedUnion('kind', [email, webhook, push, command, file])
type Given = z.output<typeof channelShape>
/** A channel as configured, with its name: its kind where none is given. */
export type ChannelSettings = Given & { name: string }
export type Settings<Kind extends Given['kind']> = Extract<ChannelSettings, { kind: Kind }>

const clockTime = z.string().regex(/^(?:[01]\d|2[0-3]):[0-5]\d$/, 'must be a time of day, as "22:00"')

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
    .min(1, 'one channel at least; leave the key out for the file logs/alerts.log')
    .max(8)
    .transform((channels, context): ChannelSettings[] => {
      const withNames = channels.map((channel) => ({ ...channel, name: channel.name ?? channel.kind }))
      for (const [at, { name }] of withNames.entries())
        if (withNames.findIndex((other) => other.name === name) !== at)
          context.addIssue({ code: 'custom', path: [at], message: `two channels are called ${name}; give each a name` })
      return withNames
    })
    .optional(),
  /** IANA name, for times in messages and quiet hours; '' is this machine's. */
  zone: z
    .string()
    .max(64)
    .refine((zone) => zone === '' || isZone(zone), 'must be an IANA time zone, as Europe/Berlin')
    .default(''),
  /** Local times between which warnings do not go by push. */
  quiet: z.strictObject({ from: clockTime, to: clockTime }).optional(),
})
export type AlertSettings = z.output<typeof alertsShape>

export const DEFAULT_CHANNEL: Settings<'file'> = {
  kind: 'file',
  name: 'file',
  path: 'logs/alerts.log',
  sizeMax: 8 * MIB,
}
export const channelsOf = ({ channels }: AlertSettings): readonly ChannelSettings[] => channels ?? [DEFAULT_CHANNEL]
