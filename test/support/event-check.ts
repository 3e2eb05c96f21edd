/** Whether an event is as the reference says: its subject, every field of it, and no other. */
import { EVENTS, type HubEvent } from '../../hub/protocol/events.ts'

const SUBJECTS: Readonly<Record<string, RegExp>> = {
  hub: /^hub$/,
  'task:ID': /^task:[0-9a-f-]{36}$/,
  'session:ID': /^session:s[a-z2-7]{15}$/,
  'approval:ID': /^approval:[0-9a-f-]{36}$/,
  'alert:ID': /^alert:[0-9a-f-]{36}$/,
  'agent:NAME': /^agent:[a-z][a-z0-9-]*$/,
  'flag:NAME': /^flag:[A-Za-z]+$/,
}
/** What tests publish themselves, about no task that there is. */
const MADE_UP = 'task:x'

/** What is wrong with it; undefined if nothing is. */
export function eventFault({ type, subject, data }: HubEvent): string | undefined {
  if (subject === MADE_UP) return undefined
  const row = EVENTS[type]
  if (!SUBJECTS[row.subject]?.test(subject)) return `${type}: its subject is ${subject}, not ${row.subject}`
  const known = new Map(Object.entries<string>(row.data))
  for (const key of Object.keys(data)) if (!known.has(key)) return `${type}: ${key} is not described`
  for (const [key, means] of known)
    if (data[key] === undefined && !/absent/.test(means)) return `${type}: it has no ${key}`
  return undefined
}
