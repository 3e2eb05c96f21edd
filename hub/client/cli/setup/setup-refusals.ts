/** Names the refused answer of `hub setup` by its question or flag: a line of a file that was never written would help nobody. Pure. */
import { Problem } from '../../problem.ts'
import type { Options } from '../context.ts'
import { clean } from '../text.ts'
import type { Fault } from './judge.ts'

/** What a person calls each answer, by the option that gives it. */
const PARTS = {
  zone: 'your time zone',
  mail: 'your mail address',
  mailServer: 'the mail server',
  mailFrom: "the sender's address",
  mailUser: 'the account at the mail server',
  mailPasswordFile: 'the password',
  push: 'the address of your topic',
  pushTokenFile: 'the token',
  webhook: 'the address of your program',
  webhookSecretFile: 'the secret that signs each call',
  heartbeat: 'when a heartbeat is due',
  operator: 'your name',
  contact: "your backup contact's name",
  contactMail: "your backup contact's mail address",
  ping: 'the address of the outside service',
} as const
export type Part = keyof typeof PARTS

export type PartFault = Pick<Fault, 'message'> & { part?: Part | undefined }
export interface Tried {
  channel: string
  ok: boolean
  answer: string
}
type Failed = Tried & { whose: 'hub' | 'watchdog' }

const flagOf = (part: Part): string => `--${part.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`

/** A refusal of one answer, found before any file is checked. */
export const wrongAnswer = (part: Part, message: string): Problem =>
  new Problem('usage', 'refused', `${flagOf(part)}: ${message}`, `give another ${flagOf(part)}`, {
    faults: [{ part, message }],
  })

const PLAIN: Readonly<Record<string, Part>> = {
  'alerts.zone': 'zone',
  'heartbeat.due': 'heartbeat',
  'operator.name': 'operator',
  'contact.name': 'contact',
}
const CHANNELS: Readonly<Record<string, { own: Part; fields: Readonly<Record<string, Part>> }>> = {
  email: {
    own: 'mail',
    fields: {
      ...{ host: 'mailServer', port: 'mailServer', secure: 'mailServer', plain: 'mailServer', caFile: 'mailServer' },
      ...{ from: 'mailFrom', user: 'mailUser', passwordFrom: 'mailPasswordFile' },
    },
  },
  push: { own: 'push', fields: { tokenFrom: 'pushTokenFile' } },
  webhook: { own: 'webhook', fields: { secretFrom: 'webhookSecretFile' } },
}

/** Which answer belongs to this key. `kinds`: those of the file's channels, in its order. */
export function partOf(key: string, kinds: readonly string[]): Part | undefined {
  if (/^outside(?:\.|$)/.test(key)) return 'ping'
  if (key.startsWith('contact.channels')) return 'contactMail'
  const [, at, field = ''] = /^alerts\.channels\[(\d+)\]\.?(\w*)/.exec(key) ?? []
  const channel = at === undefined ? undefined : CHANNELS[kinds[Number(at)] ?? '']
  return channel === undefined ? PLAIN[key] : (channel.fields[field] ?? channel.own)
}

const faultsOf = ({ facts }: Problem): PartFault[] => (Array.isArray(facts.faults) ? (facts.faults as PartFault[]) : [])
const failedOf = ({ facts }: Problem): Failed[] => (Array.isArray(facts.failed) ? (facts.failed as Failed[]) : [])

/** Names the refused flag. A problem that no flag caused stays as it is. */
export function byFlag(problem: Problem, options: Options): Problem {
  const given = (part: Part | undefined): part is Part => part !== undefined && options[part] !== undefined
  const [failed] = failedOf(problem)
  const tried = failed === undefined ? undefined : CHANNELS[failed.channel]?.own
  if (given(tried)) {
    const next =
      tried === 'mail' ? 'correct --mail-server, --mail-user or --mail-password-file' : `correct ${flagOf(tried)}`
    return new Problem(problem.code, problem.kind, `${flagOf(tried)}: ${problem.message}`, next, problem.facts)
  }
  for (const { part, message } of faultsOf(problem)) {
    // If no sender was set, mail comes from the address that it goes to.
    const named = part === 'mailFrom' && !given(part) ? 'mail' : part
    if (given(named)) return wrongAnswer(named, `${message}; nothing was written`)
  }
  return problem
}

/** The problem for a person who has just answered. */
export function inWords(problem: Problem): string {
  const failed = failedOf(problem)
  if (failed.length > 0) {
    const said = failed.map(({ whose, answer }) => `the ${whose} says: ${clean(answer)}`)
    return `the test by ${failed[0]?.channel ?? ''} failed; ${said.join('; ')}`
  }
  const [fault] = faultsOf(problem)
  return fault?.part === undefined ? problem.message : `${PARTS[fault.part]}: ${clean(fault.message)}`
}
