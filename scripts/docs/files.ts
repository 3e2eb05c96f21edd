/** The pages about files that people write: the card, and the configuration of both processes. */
import { z } from 'zod'
import { configShape } from '../../hub/config.ts'
import { channelShape } from '../../hub/guard/alerts/settings.ts'
import { agentCardShape } from '../../hub/protocol/agent.ts'
import { upstreamShape } from '../../hub/protocol/egress/upstreams.ts'
import { OPERATIONS } from '../../hub/protocol/operations.ts'
import { ruleInputShape } from '../../hub/protocol/rule-input.ts'
import { spanWritten } from '../../hub/protocol/spans.ts'
import { keyOfSpan, SPANS } from '../../watchdog/config/config.ts'
import { KEY_WORDS, SPAN_WORDS } from '../../watchdog/config/keys.ts'
import { type Field, fieldsOf } from './fields.ts'
import { block, code, page, table } from './markdown.ts'

const HEAD = ['Key', 'Type', 'Default', 'Limit', 'Meaning']
/** When a change of a key of hub.yaml counts; the word stands beside the key in the code. */
const COUNTS = { now: 'at once', next: 'for what begins later', restart: 'after `hub restart`' } as const
const LIVE_HEAD = ['Key', 'Type', 'Default', 'Limit', 'A change counts', 'Meaning']
const liveRowOf = ({ path, type, usual, limit, live, means }: Field) => [
  ...[code(path), type, usual, limit],
  type === 'map' ? '' : COUNTS[live],
  means,
]
const rowOf = ({ path, type, usual, limit, means }: Field) => [code(path), type, usual, limit, means]
const UNITS =
  'A *span* is a whole number with a unit: `ms`, `s`, `m`, `h`, `d`. A *size* is one with `B`, `KiB`, `MiB`, `GiB`, `kB`, `MB` or `GB`. A number without a unit is refused.'

/** What the operator's own rules can read. */
export function ruleInputPage(): string {
  const { fields } = fieldsOf(ruleInputShape)
  return page(
    'What a rule sees',
    '`hub/protocol/rule-input.ts`',
    'A rule of your own (a file that ends in `.rego`, in the folder `policy/` of the home) reads the document `input`, and your data as `data.agents` (the rows of `policy/data.json`). How to write one: [policies/README.md](../../policies/README.md).',
    'Each question has `operation`, `principal` and `mode`. Which parts of `resource` are there depends on the operation; a rule that reads one that is not there does not fire. `hub policy simulate` and `hub policy explain` show real questions.',
    'A name that is not in this table is refused by `hub policy check`, `reload` and `seal`, with file, line and the name that was probably meant. So is a word that is never there, such as an operation that does not exist. What is handed to a function of your own is not followed, so a wrong name there only never fires.',
    table(
      ['Field', 'Type', 'Meaning'],
      fields.map(({ path, type, means }) => {
        const short = type.includes('`task.submit`') ? type.replace(/`.*`/, 'operations below') : type
        return [code(`input.${path}`), short.replace(/^operations/, 'one of the operations'), means]
      }),
    ),
    '## Operations',
    Object.keys(OPERATIONS).map(code).join(', '),
  )
}

/** A test loads this card. */
export const CARD_EXAMPLE = `name: reader
description: Reads texts and says what is in them
image: hub/reader
driver: sdk
run: [node, /app/main.js]
capabilities: [reading]
limits: { ttl: 10m, memory: 256MiB }
may: { message: [lead], secrets: [api-key] }`

export function cardPage(): string {
  const { fields, refused } = fieldsOf(agentCardShape)
  return page(
    'The card of an agent',
    '`hub/protocol/agent.ts`',
    'A card is a file `HOME/agents/NAME.yaml`. It says what an agent is and what it asks for. It gets only what `policy/data.json` grants. `hub agent reload` reads the cards again; they count for sessions that begin after that. A card with a fault is named with line and column, and the others load.',
    block('yaml', CARD_EXAMPLE),
    `${UNITS} An unknown key is refused by name.`,
    table(HEAD, fields.map(rowOf)),
    'A limit above the one that `hub.yaml` allows is refused with both figures. It is never lowered silently.',
    '## Keys that are refused by name',
    'These keys have a meaning, but the hub cannot do what they ask for. So it refuses them instead of ignoring them.',
    table(
      ['Key', 'Answer'],
      [
        ...refused.map(({ path, means }) => [code(path), means]),
        ['`mode: chat` with `driver: command`', refusalOf({ mode: 'chat', driver: 'command' })],
        ['`idleAfter` without `mode: chat`', refusalOf({ idleAfter: '10m' })],
      ],
    ),
  )
}
/** The hub's answer to a card that is right except for this. */
function refusalOf(change: object): string {
  const card = { name: 'a', description: 'b', image: 'c', run: ['d'], ...change }
  const parsed = agentCardShape.safeParse(card)
  if (parsed.success) throw new Error(`a card with ${JSON.stringify(change)} is not refused any more`)
  return parsed.error.issues[0]?.message ?? ''
}

/** A test loads these files. */
export const HUB_EXAMPLE = `limits: { sessions: 8, ttl: 30m }
disk: { warnPercent: 15 }
alerts:
  zone: Europe/Berlin
  channels:
    - { kind: email, host: mail.example.org, from: hub@example.org, to: me@example.org, user: hub, passwordFrom: smtp }`
export const WATCHDOG_EXAMPLE = `heartbeat: { due: "daily at 08:30, 20:00" }
operator: { name: Kim, phone: "+49 30 123456", zone: Europe/Berlin }
away: { workMax: 24h }`

/** A table for each kind, without the key that names it. */
function kindTables(options: readonly z.core.$ZodType[], title: string): string[] {
  return options.flatMap((option) => {
    const kind = z.toJSONSchema(option, { io: 'input', unrepresentable: 'any' }).properties?.kind
    const name = typeof kind === 'object' && typeof kind.const === 'string' ? kind.const : ''
    const fields = fieldsOf(option).fields.filter(({ path }) => path !== 'kind')
    return [`### ${title} of the kind \`${name}\``, table(HEAD, fields.map(rowOf))]
  })
}

export function configurationPage(): string {
  const spans = Object.entries(SPANS).map(([name, [usual, least, most]]) => {
    const key = name === 'engineTimeoutMs' ? 'engine.callTimeout' : keyOfSpan(name)
    const limit = `${least === 0 ? '0s' : spanWritten(least)} to ${spanWritten(most)}`
    return [code(key), 'span', code(spanWritten(usual)), limit, Reflect.get(SPAN_WORDS, name)]
  })
  const others = Object.entries(KEY_WORDS).map(([key, [usual, limit, means]]) => [code(key), usual, limit, means])
  return page(
    'Configuration',
    '`hub/config.ts`, `hub/guard/alerts/settings.ts`, `hub/protocol/egress/upstreams.ts` and `watchdog/config/`',
    'Each of the two processes has one file in the home. Both may be absent: every key has a default. `hub config check` checks both and changes nothing. An unknown key is refused by name, with line and column.',
    UNITS,
    '## `HOME/hub.yaml`',
    'The hub reads it when it starts, and watches it while it runs. A changed file is judged as a whole once it has rested for a second. Then most keys count without a restart, as the table says, and a record of the audit log names them. A file with a fault changes nothing: the alert `config_refused` says line and key. A key that needs a restart keeps its value, and the alert `restart_needed` names it; running agents go on through `hub restart`. `hub config show` prints what is in force, `hub config diff` what the file says otherwise.',
    block('yaml', HUB_EXAMPLE),
    table(LIVE_HEAD, fieldsOf(configShape).fields.map(liveRowOf)),
    'Passwords and tokens never belong in it, and neither does an address that holds one: the file is refused, and the message names the key. A key that ends in `From`, and `secret` of an upstream, names a file `HOME/secrets/NAME` (mode 0600) or a variable `HUB_SECRET_NAME`.',
    ...kindTables(channelShape.options, 'A channel'),
    ...kindTables(upstreamShape.options, 'An upstream'),
    '## `HOME/watchdog/config.yaml`',
    'The watchdog reads it when it starts. After a change: `hub restart --watchdog`; the hub and its agents go on.',
    block('yaml', WATCHDOG_EXAMPLE),
    table(['Key', 'Type', 'Default', 'Limit', 'Meaning'], spans),
    table(['Key', 'Default', 'Limit', 'Meaning'], others),
  )
}
