/**
 * The files that lines go to, as `hub.yaml` says: each belongs to one kind of lines. Two writers in one file would cut each other's lines, and
 * one would put aside what the other writes.
 */
import { resolve } from 'node:path'
import { HubError } from './errors.ts'
import { ALERTS_FILE, HUB_LOG } from './log-place.ts'

interface Receiver {
  kind: string
  path?: string
}
/** The parts of `hub.yaml` that name files for lines. */
interface Settings {
  log: { file?: string | undefined }
  alerts: { channels?: readonly Receiver[] | undefined }
  audit: { forward: readonly Receiver[] }
}
interface LinesFile {
  key: (string | number)[]
  path: string
  /** Whose lines these are. */
  what: string
  /** Always written, and so by whoever else names it for the same lines. */
  isUsual?: true
}

/** What of a file is put aside when it is full, or begun in its place. */
const PARTS = /^\.(?:\d{1,2}|new)$/
const isPartOf = (one: string, other: string): boolean =>
  one === other || (one.startsWith(other) && PARTS.test(one.slice(other.length)))

/** Those that are always written first: alerts without a channel, and what the hub says before its log is open. */
function linesFilesOf({ log, alerts, audit }: Settings): LinesFile[] {
  const fileOf = (what: string, key: string[]) => (each: Receiver, at: number) =>
    each.kind === 'file' ? [{ key: [...key, at, 'path'], path: each.path ?? '', what }] : []
  return [
    { key: ['log'], path: HUB_LOG, what: "the hub's log", isUsual: true },
    { key: ['alerts'], path: ALERTS_FILE, what: 'alerts', isUsual: true },
    { key: ['log', 'file'], path: log.file ?? HUB_LOG, what: "the hub's log" },
    ...(alerts.channels ?? []).flatMap(fileOf('alerts', ['alerts', 'channels'])),
    ...audit.forward.flatMap(fileOf('the forwarded audit log', ['audit', 'forward'])),
  ]
}

/** The first key whose file is that of other lines, or is put aside over it, and what to say of it. Follows no links. Pure. */
export function sharedFile(settings: Settings, home: string): { key: LinesFile['key']; message: string } | undefined {
  const files = linesFilesOf(settings).map((each) => ({ ...each, whole: resolve(home, each.path) }))
  for (const [at, { key, path, what, whole }] of files.entries()) {
    const other = files
      .slice(0, at)
      .find((each) =>
        each.isUsual && each.what === what && each.whole === whole
          ? false
          : isPartOf(whole, each.whole) || isPartOf(each.whole, whole),
      )
    if (other !== undefined) return { key, message: `${path} belongs to ${other.what}; name a file of its own` }
  }
  return undefined
}

/** As faults of the file name it. */
const keyText = (key: LinesFile['key']): string =>
  key.reduce<string>(
    (text, each) => (typeof each === 'number' ? `${text}[${each}]` : text === '' ? each : `${text}.${each}`),
    '',
  )

/** Throws `config_invalid` for what `sharedFile` finds in this home, where a path may also be written in full. */
export function requireOwnFiles(settings: Settings, home: string): void {
  const shared = sharedFile(settings, home)
  if (shared !== undefined) throw new HubError('config_invalid', `${keyText(shared.key)}: ${shared.message}`)
}
