/** Puts answers of `hub setup` into the two files; everything else in them stays, comments too. Pure. */
import { type Document, isCollection, isMap, isSeq, parseDocument, type YAMLMap } from 'yaml'

/** A channel as both files write it. */
export type Channel = Readonly<Record<string, unknown>> & { kind: string }
export interface Answers {
  zone?: string
  channels?: readonly Channel[]
  heartbeat?: string
  operator?: string
  contact?: { name: string; channel: Channel }
  ping?: { url: string; local?: string }
  /** A first upstream, as a line of hub.yaml. */
  upstream?: { name: string; entry: Readonly<Record<string, unknown>> }
  /** What models may cost in a day, such as `5.00 USD`. */
  dayBudget?: string
}
export interface Texts {
  hub: string
  watchdog: string
}

const write = (document: Document): string => document.toString({ lineWidth: 0 })

/** Replaces the channel of its kind, else adds it at the end; the channel `file` stays. */
function putChannel(document: Document, channel: Channel): void {
  const path = ['alerts', 'channels']
  const list = document.getIn(path)
  if (!isSeq(list)) {
    document.setIn(path, document.createNode([{ kind: 'file' }, channel]))
    return
  }
  const at = list.items.findIndex((each) => isCollection(each) && each.get('kind') === channel.kind)
  if (at === -1) document.addIn(path, document.createNode(channel))
  else document.setIn([...path, at], document.createNode(channel))
}

function edited(text: string, edit: (document: Document) => void): string {
  const document: Document = parseDocument(text)
  edit(document)
  return write(document)
}

/** Both texts with the answers in them. */
export function withAnswers({ hub, watchdog }: Texts, answers: Answers): Texts {
  const { zone, channels = [], heartbeat, operator, contact, ping, upstream, dayBudget } = answers
  const both = (document: Document) => {
    if (zone !== undefined) document.setIn(['alerts', 'zone'], zone)
    for (const channel of channels) putChannel(document, channel)
  }
  const isOfHub = [zone, upstream, dayBudget].some((each) => each !== undefined) || channels.length > 0
  return {
    hub: isOfHub
      ? edited(hub, (document) => {
          both(document)
          if (upstream !== undefined)
            document.setIn(['upstreams', upstream.name], document.createNode(upstream.entry, { flow: true }))
          if (dayBudget !== undefined) document.setIn(['budget', 'day', 'usd'], dayBudget)
        })
      : hub,
    watchdog: edited(watchdog, (document) => {
      both(document)
      if (heartbeat !== undefined) document.setIn(['heartbeat', 'due'], heartbeat)
      if (operator !== undefined) document.setIn(['operator', 'name'], operator)
      if (contact !== undefined) {
        document.setIn(['contact', 'name'], contact.name)
        document.setIn(['contact', 'channels'], [contact.channel])
      }
      if (ping !== undefined) document.setIn(['outside'], ping)
    }),
  }
}

/** The kinds of the channels of a file, in its order. */
export function kindsOf(text: string): string[] {
  const list = parseDocument(text).getIn(['alerts', 'channels'])
  return isSeq(list) ? list.items.map((each) => String(isCollection(each) ? each.get('kind') : '')) : []
}

/** The contact's address, if mail is the only way to them. */
function addressOf(channels: unknown): string | undefined {
  const [only] = isSeq(channels) && channels.items.length === 1 ? channels.items : []
  const to = isCollection(only) && only.get('kind') === 'email' ? only.get('to') : undefined
  return typeof to === 'string' && to !== '' ? to : undefined
}

export type Standing = ReturnType<typeof standing>
/** What the files say now, for the defaults of the questions. */
export function standing({ hub, watchdog }: Texts) {
  const [ours, theirs] = [parseDocument(hub), parseDocument(watchdog)]
  const text = (document: typeof ours, ...path: (string | number)[]): string | undefined => {
    const value = document.getIn(path)
    return typeof value === 'string' && value !== '' ? value : undefined
  }
  const rows = (ours.toJS() as { alerts?: { channels?: unknown } } | null)?.alerts?.channels
  const channels = Array.isArray(rows) ? (rows as Channel[]) : []
  return {
    zone: text(ours, 'alerts', 'zone'),
    channel: (kind: string): Channel | undefined => channels.find((each) => each?.kind === kind),
    heartbeat: text(theirs, 'heartbeat', 'due'),
    operator: text(theirs, 'operator', 'name'),
    contact: text(theirs, 'contact', 'name'),
    contactMail: addressOf(theirs.getIn(['contact', 'channels'])),
    ping: text(theirs, 'outside', 'url'),
    hasUpstream: isMap(ours.get('upstreams')) && (ours.get('upstreams') as YAMLMap).items.length > 0,
    dayBudget: text(ours, 'budget', 'day', 'usd'),
  }
}
