/** The pages made from tables of the hub: errors, conditions, events, token actions. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ERRORS } from '../../hub/base/errors.ts'
import { EXIT, exitCodeOf, Problem } from '../../hub/client/problem.ts'
import { CONDITIONS, MODES, permits } from '../../hub/guard/modes.ts'
import { judgePolicyData } from '../../hub/guard/policy/data.ts'
import { createEngine } from '../../hub/guard/policy/engine.ts'
import { compileModule } from '../../hub/guard/policy/module.ts'
import { type Definition, METRICS } from '../../hub/observe/table.ts'
import { ANSWERS } from '../../hub/protocol/answers.ts'
import { EVENTS } from '../../hub/protocol/events.ts'
import { DEVICE_RIGHTS } from '../../hub/protocol/holders.ts'
import { OPERATIONS, operationOf } from '../../hub/protocol/operations.ts'
import { ROUTES } from '../../hub/protocol/routes.ts'
import { SPANS } from '../../hub/protocol/traces.ts'
import { code, page, table } from './markdown.ts'

const exitOf = (name: string, kind: 'refused' | 'unavailable' | 'fault'): number =>
  exitCodeOf(new Problem(name, kind, '', ''))

const EXIT_WORDS: Readonly<Record<keyof typeof EXIT, string>> = {
  done: 'it is done',
  fault: 'a fault of the hub or of the command',
  usage: 'the command was used wrongly; nothing was sent',
  refused: 'refused: the same again is refused again',
  unreachable: 'hub or watchdog does not answer, or the hub cannot do it now: try again later',
  taskFailed: 'the task that was waited for failed',
  timedOut: 'it took too long',
  unwritten: 'a stop is under way, but could not be recorded yet',
}

export const errorsPage = (): string =>
  page(
    'Errors',
    '`hub/base/errors.ts` and `hub/client/problem.ts`',
    'Every refusal has a code that stays the same. Over HTTP it comes as a problem document (RFC 9457, `application/problem+json`) with `code`, `kind`, `detail` and `next`; the command prints the same with `--json`. Go by the code. The text is for people and may change.',
    '`refused`: do not send the same again. `unavailable`: try again later. `fault`: something is broken.',
    table(
      ['Code', 'Kind', 'HTTP', 'Exit', 'Meaning', 'What to do'],
      Object.entries(ERRORS).map(([name, { kind, status, means, next }]) => [
        code(name),
        kind,
        String(status),
        String(exitOf(name, kind)),
        means,
        next,
      ]),
    ),
    '## Exit codes of the command',
    table(
      ['Exit', 'Meaning'],
      Object.entries(EXIT).map(([name, number]) => [String(number), Reflect.get(EXIT_WORDS, name)]),
    ),
  )

const STANDINGS = [
  ['new_work', 'to start new work'],
  ['child_work', 'to accept a delegation of a running task, which starts once the mode is normal'],
  ['approve', 'to give somebody more rights, and to approve'],
] as const
const MODE_WORDS: Readonly<Record<(typeof MODES)[number], string>> = {
  normal: 'everything works',
  degraded: 'something that the hub needs does not work; running tasks go on, nothing new starts',
  safe: 'nobody watches, or somebody asked for it; running tasks go on, nothing new starts',
  draining: 'the hub is stopping',
}

export const conditionsPage = (): string =>
  page(
    'Conditions and modes',
    '`hub/guard/modes.ts`',
    'A condition says what is wrong. The mode is the strictest that any condition asks for; nobody sets it. `hub status` names every condition that holds, since when, and what ends it. Reading, stopping, repairing and giving a heartbeat are permitted in every mode.',
    table(
      ['Mode', 'What it means', 'Permitted beside that'],
      MODES.map((mode) => [
        code(mode),
        MODE_WORDS[mode],
        STANDINGS.filter(([standing]) => permits(mode, standing))
          .map(([, words]) => words)
          .join('; ') || 'nothing more',
      ]),
    ),
    table(
      ['Condition', 'Mode', 'Raised by', 'Ended by', 'Outlives a restart of the hub'],
      Object.entries(CONDITIONS).map(([name, { mode, sticky, raisedBy, endsBy }]) => [
        code(name),
        mode,
        raisedBy,
        endsBy,
        sticky ? 'yes' : 'no',
      ]),
    ),
    'What to do is under *Ended by*. `heartbeat_missed`, `unattended_stop`, `away`, `emergency_stop` and `witness_mismatch` are kept by the watchdog too, so they outlive a restart of the hub all the same.',
  )

const TYPES = {
  gauge: 'what is now',
  counter: 'only rises, from 0 at each start of the hub unless its meaning says otherwise',
  histogram: 'how many were within each bound, with `_bucket`, `_sum` and `_count`; in seconds',
} as const

export const metricsPage = (): string =>
  page(
    'Metrics and traces',
    '`hub/observe/table.ts` and `hub/protocol/traces.ts`',
    'Numbers for Prometheus: `GET /metrics` on `127.0.0.1`, port `metrics.port` of `hub.yaml` (9134; 0 switches it off). Every account of this machine can read them; they hold names of agents and channels, ids of traces where some are kept, and no content. They are made at most once a second, however often somebody asks. Units are in the names. What cannot be read, such as tasks while the database fails, is left out.',
    table(
      ['Type', 'Meaning'],
      Object.entries(TYPES).map(([name, means]) => [name, means]),
    ),
    table(
      ['Metric', 'Type', 'Meaning', 'Labels'],
      Object.entries<Definition>(METRICS).map(([name, { type, help, labels = {} }]) => [
        code(name),
        type,
        help,
        Object.entries(labels)
          .map(([label, means]) => `${code(label)}: ${means}`)
          .join('; '),
      ]),
    ),
    'An agent has a row of `hub_mailbox_depth`, `hub_mailbox_fullest` and `hub_mailbox_oldest_seconds` only while a session of it may still have a container, so there are never more rows than places for sessions. `scripts/observe/` has a dashboard for Grafana, alert rules, and how Prometheus asks.',
    'Whoever asks for `application/openmetrics-text` (Prometheus does) gets OpenMetrics 1.0.0, all others the plain text. Where traces are kept, each bucket of a histogram in OpenMetrics names the last step that fell into it, as an exemplar: `trace_id`, `span_id`, the seconds and the instant. So a slow time leads to its trace, and the `trace_id` is the id of the task at the root, without its dashes. Starts, deliveries, calls of the engine for a task, and what a message costs (decision, record, commit) have them; without `tracing.endpoint` there are none.',
    '## Traces',
    'With `tracing.endpoint` in `hub.yaml` the hub sends spans to the OpenTelemetry collector of this machine (OTLP over HTTP, JSON). The trace of a task has the id of the task at the root of its tree, without its dashes: the same id finds it with `hub task show`, in events and in the audit log (`hub audit list --task ID`). `hub.decision` of a span finds the records of that decision. Attributes are ids and words of the hub, never what a person or an agent wrote.',
    table(
      ['Span', 'Meaning'],
      Object.entries(SPANS).map(([name, means]) => [code(name), means]),
    ),
    'An agent gets its place as `traceparent` of its task (W3C), and the SDK passes it on. A `traceparent` that comes with a request is linked to the task that it makes; it chooses neither the trace nor whether it is kept (`tracing.sample`).',
  )

export const eventsPage = (): string =>
  page(
    'Events',
    '`hub/protocol/events.ts`',
    'An event is a fact that has happened. `GET /v1/events` gives them as server-sent events, `hub events` shows them. Each has the attributes of CloudEvents (`specversion`, `id`, `source`, `type`, `subject`, `time`), a `sequence` that rises over every start of the hub, and `data`. Ask with `?since=SEQUENCE` for what came later; `?task=ID` gives those of one task. `event: lost` says that earlier events are gone. Who follows one task gets `event: end` behind the event of its end, and the stream is over; a browser that comes back then gets 204. Devices and tokens see only events whose content they could read otherwise: each names the action that shows as much.',
    ...Object.entries(EVENTS).flatMap(([type, { when, subject, seenWith, data }]) => [
      `## \`${type}\``,
      `When ${when}. Subject: \`${subject}\`. Seen with: \`${seenWith}\`.`,
      table(
        ['Data', 'Meaning'],
        Object.entries(data).map(([key, means]) => [code(key), means]),
      ),
    ]),
  )

type Says = 'yes' | 'no' | 'by the row of the agent'
/** A task for an agent that people may give tasks, by the shipped data. */
const ANY_TASK = { agent: 'echo', needs: [], inputs: 'none', origin: { by: 'people', parent: null } }
/** Asks the rules as they are shipped, so that the page says what they say. */
function rules(root: string): (principal: object, operation: string) => Says {
  const read = (name: string) => readFileSync(join(root, 'policies', name))
  const { data } = judgePolicyData(read('data.json'))
  if (data === undefined) throw new Error('policies/data.json cannot be read')
  const compiled = compileModule(read('policy.wasm'))
  const engine = createEngine(
    () => compiled.instantiate(data),
    (reason) => {
      throw new Error(reason)
    },
  )
  return (principal, operation) => {
    const { effect, rule } = engine.evaluate(
      JSON.stringify({ operation, principal, resource: ANY_TASK, mode: 'normal' }),
    )
    if (effect !== 'allow') return 'no'
    return rule.startsWith('hub.tasks') ? 'by the row of the agent' : 'yes'
  }
}

export function actionsPage(root: string): string {
  const says = rules(root)
  const person = { id: 'x' }
  const console = { ...person, kind: 'device', via: 'console', rights: [...DEVICE_RIGHTS] }
  const columns: readonly (readonly [head: string, principal: (operation: string) => { kind: string }])[] = [
    ['You, by the command', () => ({ ...person, kind: 'operator' })],
    ['The console on this machine', () => console],
    ...DEVICE_RIGHTS.map(
      (right) => [`Device: ${right}`, () => ({ ...person, kind: 'device', rights: [right] })] as const,
    ),
    [
      'Token that lists it',
      (operation) => ({
        ...person,
        kind: 'automation',
        actions: operation === 'task.retry' ? [operation, 'task.submit'] : [operation],
      }),
    ],
    ['Contact', () => ({ ...person, kind: 'contact' })],
  ]
  const names = Object.keys(ROUTES)
  const rows = names.map((name) => [
    code(name),
    ...columns.map(([, principal]) => {
      const { kind } = principal(name)
      const reaches = operationOf(name)?.reach.some((each) => each === kind)
      const answer = reaches ? says(principal(name), name) : 'no'
      return answer === 'no' ? '' : answer
    }),
  ])
  const may = rows.filter((row) => row[columns.length - 1] !== '').map(([name = '']) => name)
  return page(
    'Who may do what',
    '`hub/protocol/operations.ts`, `hub/protocol/routes.ts` and `policies/`',
    'An operation is one thing that can be asked of the hub. The account that can open the socket of the home is the operator. A *device* (`hub device add`) holds rights, a *token* (`hub token create`) a list of operations, which are its actions; both end when they are revoked or their time is over. The backup contact holds one card, which stops everything.',
    'Without a device, a token or a card only you have rights. Empty: never. *By the row of the agent*: as `submit` in that row of `policy/data.json` says. This table comes from the rules as they are shipped.',
    table(['Operation', ...columns.map(([head]) => head)], rows),
    '## Actions that a token can hold',
    'Any other is refused when the token is made, or by the rules when it is used. `task.retry` also needs `task.submit`. A task with inputs that somebody else has put also needs `artifact.get`.',
    may.map((name) => `- ${name}: ${whatDoes(name.replaceAll('`', ''))}`).join('\n'),
    '## What agents ask',
    'On the socket of its own session, for itself alone; the rules decide by its row in `policy/data.json`, and a delegated task never holds more than its parent.',
    table(
      ['Operation', 'What it does'],
      Object.entries(OPERATIONS)
        .filter(([, { reach }]) => reach.some((kind) => kind === 'agent'))
        .map(([name]) => [code(name), whatDoes(name)]),
    ),
  )
}

function whatDoes(name: string): string {
  return Object.entries(ANSWERS).find(([each]) => each === name)?.[1].does ?? ''
}
