/** What a person and an agent read about what waits. Pure. Words that an agent may have written are marked line by line. */
import { shownLine } from '../../base/shown-text.ts'
import { type ActAnswer, type ApprovalKind, type ApprovalState, SILENCE } from '../../protocol/approval.ts'
import { askedWords, TOOL_TIER_WORDS } from '../../protocol/asked-words.ts'
import { spanText } from '../../protocol/spans.ts'
import type { Act } from '../acts.ts'
import type { Approval } from './approval-rows.ts'

/** Of the facts, in an alert. */
const FACTS_SHOWN_MAX = 600

/** Each line marked, so that none looks like a line of the hub, such as a command that answers. */
const quoted = (text: string): string =>
  text
    .split(/\r\n|[\n\r\v\f\u0085\u2028\u2029]/)
    .map((line) => `> ${line}`)
    .join('\n')

/** An agent waits for the answer itself: of a question, or whether it may use a tool. */
export const isOfAgent = (kind: ApprovalKind): boolean => kind === 'ask_user' || kind === 'tool'

/** Who asks, in words. */
const askerText = ({ kind, agent, principal }: Pick<Approval, 'kind' | 'agent' | 'principal'>): string =>
  kind === 'budget'
    ? 'the hub'
    : isOfAgent(kind) || principal.startsWith('agent:')
      ? `agent ${agent ?? 'that asked'}`
      : principal

/** The end of a task's id, as commands take it. */
const again = (task: string | null): string =>
  `the task has ended; \`hub task retry ${task?.slice(-8)}\` runs it again, with a budget of its own`

/** How its alert ends once it has its answer. */
export function answeredText({ kind, agent, state, answer }: Approval): string {
  const said = `${state}${answer === '' ? '' : `, ${answer}`}.`
  return isOfAgent(kind) ? `Agent ${agent} has its answer: ${said}` : `It was ${said}`
}

/** It was ended by whoever asked. */
const isWithdrawn = ({ ending, answeredBy }: Approval): boolean => ending === 'over' && answeredBy !== null

/** Why one no longer takes an answer. */
export function overText(approval: Approval): string {
  const { kind, state, answer, ending } = approval
  const who = askerText(approval)
  const what = isOfAgent(kind) ? 'the question' : 'the request'
  if (ending === 'superseded')
    return `${what} of ${who} is about something that has changed since; it is asked anew: \`hub approval list\``
  if (ending === 'timed_out') return `nobody answered ${what} of ${who} in time, which is a no`
  if (isWithdrawn(approval)) return `${who} has taken ${what} back; nobody waits for this answer any more`
  if (state === 'expired' && kind === 'budget') return `more money helps no more: ${again(approval.task)}`
  if (state === 'expired')
    return isOfAgent(kind) || approval.session !== null
      ? `${who} has ended; nobody waits for this answer any more`
      : `what ${who} asked for is over; nobody waits for this answer any more`
  const said = answer === '' ? '' : `, with ${JSON.stringify(answer.slice(0, 200))}`
  const became = state === 'used' ? 'approved and used' : state
  return `${what} of ${who} was already ${became}${said}; the first answer counts`
}

/** What became of one that nobody answered or used. `was`: its state before. */
export function endText(approval: Approval, was: ApprovalState): string {
  const who = askerText(approval)
  if (isWithdrawn(approval))
    return `Agent ${approval.agent} has taken its question back; there is nothing left to answer.`
  if (approval.kind === 'budget')
    return approval.ending === 'over'
      ? `Nothing is left to answer: ${again(approval.task)}.`
      : `Nobody answered whether task ${approval.task?.slice(-8)} may spend more, which is a no.`
  if (approval.ending === 'over')
    return approval.session === null
      ? `What ${who} asked for is over; there is nothing left to answer.`
      : `Agent ${approval.agent} has ended without an answer; there is nothing left to answer.`
  if (was === 'approved') return `${who} did not use the approval for ${approval.operation} on ${approval.resource}.`
  const what = isOfAgent(approval.kind) ? 'its question' : `${approval.operation} on ${approval.resource}`
  return `Nobody answered ${who} about ${what} in time, which is a no.`
}

/** For whom a task waits whose start was asked about. */
export const askedText = ({ id, question }: Pick<Approval, 'id' | 'question'>): string =>
  `it waits for you: \`hub approve ${id}\` or \`hub reject ${id}\`; ${question}`

/** The no that holds, for whoever tries again or waited for it. */
export const noText = ({ state, answer }: Pick<Approval, 'state' | 'answer'>): string =>
  state === 'refused'
    ? `a person said no${answer === '' ? '' : `: ${answer}`}`
    : 'nobody answered in time, which is a no'

const ofBound = (bound: string): Pick<Act, 'parts' | 'facts'> => JSON.parse(bound)
/** What the act stood on, to compare with. */
export const partsOf = (bound: string | null): Act['parts'] => (bound === null ? {} : ofBound(bound).parts)

function factText(value: unknown): string {
  if (Array.isArray(value)) return value.map(factText).join(', ')
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/** Facts that have a name which says more to a person. */
const FACT_NAMES: Readonly<Record<string, string>> = {
  'origin.by': 'wanted by',
  'origin.parent': 'handed on by agent',
  owner: 'submitted by the operator',
  depth: 'steps from the first task',
  'wanted.capabilities': 'capabilities',
  'wanted.ttlMs': 'runs at most',
  expiresInMs: 'ends after',
  forMs: 'holds for',
}
/** `wanted by: people`, `runs at most: 10m`: each is one line, whatever stands in it. What is empty says nothing and is left out. */
function linesOf(facts: object, before = ''): string[] {
  return Object.entries(facts).flatMap(([name, value]: [string, unknown]) => {
    if (value === null || (Array.isArray(value) && value.length === 0)) return []
    if (typeof value === 'object' && !Array.isArray(value)) return linesOf(value, `${before}${name}.`)
    const key = `${before}${name}`
    const shown = typeof value === 'number' && name.endsWith('Ms') ? spanText(value) : factText(value)
    return [shownLine(`${FACT_NAMES[key] ?? key}: ${shown}`)]
  })
}

/** What the act is about, a fact on a line; none if it is not kept. The agent is named beside them. */
export function factLines(bound: string | null): string[] {
  if (bound === null) return []
  const { agent: _, ...facts } = ofBound(bound).facts
  const lines = linesOf(facts)
  const text = lines.join('\n')
  return text.length <= FACTS_SHOWN_MAX ? lines : `${text.slice(0, FACTS_SHOWN_MAX)} ...`.split('\n')
}

/** The alert: who, what, why, the words that answer it, and how long it waits. `leftMs`: by the work clock. */
export function waitingText(approval: Approval, leftMs: number): string {
  const { id, kind, question, task, principal, operation, resource, act, bound, agent, onTimeout, tier } = approval
  const left = `It waits at most ${spanText(leftMs)} of the time in which the hub may start work; ${SILENCE[onTimeout]}.`
  const words = [`Yes: hub approve ${id}`, `No:  hub reject ${id}`]
  if (kind === 'ask_user')
    return [
      `Agent ${agent ?? 'unknown'} asks you, and waits:`,
      quoted(question),
      '',
      ...words,
      `(each with --text "..." to say more; the task: hub task show ${task})`,
      left,
    ].join('\n')
  if (kind === 'tool')
    return [
      `Agent ${agent ?? 'unknown'} asks you, and waits:`,
      quoted(shownLine(question)),
      quoted(`what it can do: ${tier}, ${TOOL_TIER_WORDS[tier]}`),
      ...factLines(bound).map(quoted),
      '',
      ...words,
      `(all of it: hub approval show ${id}; the task: hub task show ${task})`,
      left,
    ].join('\n')
  if (kind === 'budget')
    return [
      question,
      '',
      ...words,
      `(where it went: hub budget show --task ${task}; the task: hub task show ${task})`,
      left,
    ].join('\n')
  return [
    `A rule asks you: ${askedWords(approval).wish}`,
    quoted(question),
    ...factLines(bound).map(quoted),
    '',
    ...words,
    `(all of it: hub approval show ${id}${task === null ? '' : `; the task: hub task show ${task}`})`,
    left,
    `exactly: ${principal} uses ${operation} on ${resource}, act ${act}`,
  ].join('\n')
}

/** What whoever asked hears of one that nobody decides about any more. */
export function answerOf({ state, ending }: Pick<Approval, 'state' | 'ending'>): ActAnswer {
  if (state === 'refused') return 'rejected'
  if (state !== 'expired') return 'approved'
  return ending === 'superseded' ? 'superseded' : 'expired'
}

/** The same for who watches, who may want to know that nobody was there any more to hear it. */
export const outcomeOf = (approval: Pick<Approval, 'state' | 'ending'>): ActAnswer | 'over' =>
  approval.ending === 'over' ? 'over' : answerOf(approval)

/** Of a tool: what a record names of it, as the record of the question does; nothing of its arguments. */
export function toolText({ bound, tier }: Pick<Approval, 'bound' | 'tier'>): string {
  const facts = bound === null ? undefined : ofBound(bound).facts
  // Where they are too long to keep there is a text in their place.
  const { tool = 'unknown', kind = 'unknown', permissions = 'unknown' } = Object(facts) as Record<string, unknown>
  return shownLine(`tool:${tool} kind:${kind} tier:${tier} permissions:${permissions}`)
}

/** What a record about it names besides itself: its task, so that one search by the task finds each step. `follows`: what came of it. */
export const recordEffect = ({ id, task }: Pick<Approval, 'id' | 'task'>, follows = ''): string =>
  `${task === null ? `approval:${id}` : `task:${task}`}${follows === '' ? '' : `; ${follows}`}`
