/** What waits for a person, in words that are understood at the first reading, also on a phone. Pure; what agents wrote in it is not cleaned. */
import type { Tier } from './approval.ts'

/** What an act of a tier can do. */
const TIER_WORDS: Readonly<Record<Tier, string>> = {
  read: 'it only shows something',
  write: 'it says or stores something',
  execute: 'it starts something',
  destructive: 'it governs the hub, widens rights or deletes',
  external: 'it acts outside',
}

/** The same of a tool that an agent is about to use; all of it inside its container. */
export const TOOL_TIER_WORDS: Readonly<Record<Tier, string>> = {
  read: 'it only looks',
  write: 'it changes files',
  execute: 'it runs something',
  destructive: 'it deletes, or widens what the program may do unasked',
  external: 'it reaches outside, or nobody knows what it does',
}

/** What one of this kind and tier can do. */
export const tierWords = ({ kind, tier }: { kind: string; tier: Tier }): string =>
  kind === 'tool' ? TOOL_TIER_WORDS[tier] : TIER_WORDS[tier]

const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-([0-9a-f]{12})/g
/** The end of a task's id, as lists show it and commands take it. */
const short = (text: string): string => text.replace(UUID, (_, end: string) => end.slice(-8))

/** `agent:reader/s…`: agent reader; `hub:dispatcher`: the hub; `automation:ci`: token ci. */
function whoText(principal: string): string {
  const [kind = '', ...rest] = principal.split(':')
  const name = rest.join(':')
  if (kind === 'operator') return 'the operator'
  if (kind === 'hub') return 'the hub'
  if (kind === 'agent') return `agent ${name.split('/')[0]}`
  if (kind === 'automation') return `token ${name}`
  return name === '' ? kind : `${kind} ${name}`
}

/** `task:01a2…`: task bd2bd5e6; `token:ci`: token ci. */
const thingText = (resource: string): string => short(resource).replace(':', ' ')

/** What is done to the thing. An operation that is not listed is named as it is. */
const DEEDS: Readonly<Record<string, string>> = {
  'task.submit': 'give a task to',
  'task.retry': 'run again',
  'task.accept': 'accept what came late of',
  'task.release': 'let start',
  'message.send': 'send a message to',
  'token.create': 'make the',
  'device.add': 'add the',
  'flag.set': 'change the',
  'agent.suspend': 'suspend',
}

interface Asked {
  readonly kind?: string
  readonly agent: string | null
  readonly principal: string
  readonly operation: string | null
  readonly resource: string | null
  readonly question: string
}

/** `may agent shop start task bd2bd5e6?` */
function wishText({ agent, principal, operation, resource }: Asked): string {
  const [who, thing] = [whoText(principal), thingText(resource ?? '')]
  // The hub starts what somebody asked for; what a person decides about is the agent that runs then.
  if (operation === 'task.dispatch') return `may ${agent === null ? 'an agent' : `agent ${agent}`} start ${thing}?`
  if (operation === 'task.delegate' && agent !== null) return `may ${who} give a task to agent ${agent}?`
  const deed = DEEDS[operation ?? '']
  return deed === undefined ? `may ${who} use ${operation} on ${thing}?` : `may ${who} ${deed} ${thing}?`
}

/** Who asks, and what: the hub, about money; agent `solo` with its question; or `a rule`, with what may happen (`wish`) and why it asks (`question`). */
export function askedWords(approval: Asked): { who: string; what: string; wish: string | null } {
  const { kind, agent, operation, question } = approval
  if (kind === 'budget') return { who: 'the hub', what: question, wish: null }
  // A tool; and of a question an earlier hub says no operation.
  if (typeof operation !== 'string') return { who: agent ?? 'an agent', what: question, wish: null }
  const wish = wishText(approval)
  return { who: 'a rule', what: `${wish} ${question}`, wish }
}
