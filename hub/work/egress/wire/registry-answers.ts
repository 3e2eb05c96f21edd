/**
 * Answers of registries, written anew where they lead elsewhere: links to the registry and to its second host lead to this upstream, and versions younger than
 * `minAge` are left out. Links to any other host stay as they are, and lead nowhere from a container. All other bytes stay.
 */
import { type JsonNode, readJsonTree, textOf } from '../../../base/json-tree.ts'
import type { Upstream } from '../../../protocol/egress/upstreams.ts'
import { refusalOf } from './fields.ts'
import { type JudgedHead, type Refused, refused } from './judged.ts'
import { FILES_PREFIX, isArchive } from './kinds/npm.ts'

/** The longest packages of npm list a few thousand versions with a hundred values each. */
const LIMITS = { depthMax: 100, valuesMax: 1_000_000 }

type Tree = JsonNode & { kind: 'object' }
interface Edit {
  from: number
  to: number
  by: Buffer
}

/** Whether the answer to this request is to be written anew: a package or an index, not an archive. */
export function isRegistryPage(upstream: Upstream, head: JudgedHead): boolean {
  const isRegistry = upstream.kind === 'npm' || upstream.kind === 'pypi'
  return isRegistry && head.method === 'GET' && head.host === 'url' && !isArchive(head.path)
}

/** Where a registry is seen from: the address of this upstream in the container, without a slash at its end, and the time, for `minAge`. */
export interface Seen {
  base: string
  nowMs: number
}

/** Writes a page of a registry anew, in turns. Never throws for what the registry sent. */
export function* registryPage(
  upstream: Upstream,
  contentType: string,
  bytes: Buffer,
  { base, nowMs }: Seen,
): Generator<undefined, Buffer | Refused> {
  const { minAgeMs } = upstream
  if (minAgeMs === undefined) return withOwnLinks(upstream, bytes, base)
  if (!/\bjson\b/i.test(contentType))
    return refused('egress_denied', 'the registry gives no times of publication, and minAge needs them')
  try {
    const tree = yield* readJsonTree(bytes, LIMITS)
    if (tree.kind !== 'object') return refused('egress_denied', 'the registry sent no page of a package')
    const youngest = nowMs - minAgeMs
    const edits = upstream.kind === 'npm' ? oldVersions(bytes, tree, youngest) : oldFiles(bytes, tree, youngest)
    yield
    return 'code' in edits ? edits : withOwnLinks(upstream, spliced(bytes, edits), base)
  } catch (thrown) {
    const { code, detail } = refusalOf(thrown)
    return refused(code === 'too_large' ? code : 'egress_denied', `the page of the registry cannot be read: ${detail}`)
  }
}

/** Every link that begins a string: of the registry itself, and of its second host. */
function withOwnLinks(upstream: Upstream, bytes: Buffer, base: string): Buffer {
  const own: [string, string][] = [[`${upstream.url}/`, `${base}${upstream.url.endsWith('/simple') ? '/simple' : ''}/`]]
  if (upstream.files !== undefined) own.unshift([`${upstream.files}/`, `${base}${FILES_PREFIX}/`])
  return own.reduce((text, [from, to]) => replaced(text, from, to), bytes)
}

function replaced(bytes: Buffer, from: string, to: string): Buffer {
  const edits: Edit[] = []
  const by = Buffer.from(to)
  for (let at = bytes.indexOf(from); at !== -1; at = bytes.indexOf(from, at + from.length)) {
    const before = bytes[at - 1]
    if (before === 34 || before === 39) edits.push({ from: at, to: at + from.length, by })
  }
  return spliced(bytes, edits)
}

function spliced(bytes: Buffer, edits: readonly Edit[]): Buffer {
  const pieces: Buffer[] = []
  let at = 0
  for (const { from, to, by } of [...edits].sort((one, other) => one.from - other.from)) {
    pieces.push(bytes.subarray(at, from), by)
    at = to
  }
  return Buffer.concat([...pieces, bytes.subarray(at)])
}

const objectIn = (tree: Tree, name: string): Tree | undefined => {
  const value = tree.fields.get(name)?.value
  return value?.kind === 'object' ? value : undefined
}

/** The time of a node, in milliseconds; what has none counts as published just now. */
function timeOf(bytes: Buffer, node: JsonNode | undefined): number {
  const ms = node?.kind === 'string' ? Date.parse(textOf(bytes, node)) : Number.NaN
  return Number.isFinite(ms) ? ms : Number.POSITIVE_INFINITY
}

/** An object with these of its fields. */
function withFields(bytes: Buffer, node: Tree, keeps: (name: string) => boolean): Edit {
  const kept = [...node.fields]
    .filter(([name]) => keeps(name))
    .map(([, { from, value }]) => bytes.subarray(from, value.to))
  const joined = kept.flatMap((field, at) => (at === 0 ? [field] : [Buffer.from(','), field]))
  return { from: node.from + 1, to: node.to - 1, by: Buffer.concat(joined) }
}

function oldVersions(bytes: Buffer, tree: Tree, youngest: number): Edit[] | Refused {
  const [versions, time, tags] = [objectIn(tree, 'versions'), objectIn(tree, 'time'), objectIn(tree, 'dist-tags')]
  if (versions === undefined || time === undefined)
    return refused('egress_denied', 'the registry gives no times of publication, and minAge needs them')
  const published = new Map(
    [...versions.fields.keys()].map((name) => [name, timeOf(bytes, time.fields.get(name)?.value)]),
  )
  const isOld = (name: string) => (published.get(name) ?? Number.POSITIVE_INFINITY) <= youngest
  const old = [...published.keys()].filter(isOld)
  if (old.length === 0)
    return refused('egress_denied', 'every version of this package is younger than minAge of this upstream')
  const newest = newestOf(old, published)
  const edits = [
    withFields(bytes, versions, isOld),
    withFields(bytes, time, (name) => !published.has(name) || isOld(name)),
  ]
  if (tags !== undefined) edits.push(oldTags(bytes, tags, isOld, newest))
  return edits
}

/** A tag of a version that is left out goes with it; `latest` stays and names the newest that is left. */
function oldTags(bytes: Buffer, tags: Tree, isOld: (name: string) => boolean, newest: string): Edit {
  const tagged = (name: string) => {
    const value = tags.fields.get(name)?.value
    return value?.kind === 'string' ? textOf(bytes, value) : ''
  }
  const names = [...tags.fields.keys()].filter((name) => isOld(tagged(name)))
  const kept = names.map((name) => [name, tagged(name)])
  if (!names.includes('latest')) kept.unshift(['latest', newest])
  return { from: tags.from, to: tags.to, by: Buffer.from(JSON.stringify(Object.fromEntries(kept))) }
}

/** The one that was published last; a version for trying out only if there is no other. */
function newestOf(names: readonly string[], published: ReadonlyMap<string, number>): string {
  const stable = names.filter((name) => !name.includes('-'))
  const among = stable.length > 0 ? stable : names
  return among.reduce((one, other) => ((published.get(other) ?? 0) > (published.get(one) ?? 0) ? other : one))
}

function oldFiles(bytes: Buffer, tree: Tree, youngest: number): Edit[] | Refused {
  const files = tree.fields.get('files')?.value
  // The list of all packages has no files and no times.
  if (files === undefined) return []
  if (files.kind !== 'array') return refused('egress_denied', 'the registry sent no page of a package')
  const isOld = (file: JsonNode) =>
    file.kind === 'object' && timeOf(bytes, file.fields.get('upload-time')?.value) <= youngest
  const kept = files.items.filter(isOld)
  if (kept.length === 0 && files.items.length > 0)
    return refused('egress_denied', 'every file of this package is younger than minAge of this upstream')
  const joined = kept.flatMap(({ from, to }, at) => [...(at === 0 ? [] : [Buffer.from(',')]), bytes.subarray(from, to)])
  return [{ from: files.from + 1, to: files.to - 1, by: Buffer.concat(joined) }]
}
