/**
 * Which archives a page of a registry names, and the digest of each: `integrity` of npm, `sha256` of an index of Python packages. Only what is named so is kept
 * (work/egress/archives.ts). Pure, in turns.
 */
import { type JsonNode, readJsonTree, textOf } from '../../../base/json-tree.ts'
import type { Upstream } from '../../../protocol/egress/upstreams.ts'
import type { JudgedHead } from './judged.ts'
import { isArchive } from './kinds/npm.ts'

export interface Digest {
  algorithm: 'sha512' | 'sha256'
  hex: string
}
/** An archive as the judged head of a request for it names it. */
export interface NamedArchive {
  host: JudgedHead['host']
  /** Whole path at that host. */
  path: string
  digest: Digest
}

/** Of a larger page nothing is kept: reading it would cost more than it saves. */
const PAGE_BYTES_MAX = 8 * 1024 ** 2
const LIMITS = { depthMax: 100, valuesMax: 300_000 }
const BYTES_OF = { sha512: 64, sha256: 32 } as const
/** A link of the simple index, with its digest in the fragment. */
const LINK = /href\s*=\s*["']([^"'#\s]{1,2000})#sha256=([0-9a-f]{64})["']/gi

const fieldOf = (node: JsonNode | undefined, name: string): JsonNode | undefined =>
  node?.kind === 'object' ? node.fields.get(name)?.value : undefined

/** Whether the answer to this request may be one of them, whole. */
export function isKeepable(upstream: Upstream, { method, path, headers }: JudgedHead): boolean {
  const isPart = headers.some(([name]) => name === 'range' || name.startsWith('if-'))
  return (upstream.kind === 'npm' || upstream.kind === 'pypi') && method === 'GET' && isArchive(path) && !isPart
}

/** What the page names, as the registry sent it. Never throws: of a page that cannot be read nothing is named. */
export function* archivesNamed(
  upstream: Upstream,
  head: JudgedHead,
  contentType: string,
  bytes: Buffer,
): Generator<undefined, NamedArchive[]> {
  if (bytes.length > PAGE_BYTES_MAX) return []
  const page = new URL(head.path, upstream.url).href
  const placed = (link: string, digest: Digest | undefined): NamedArchive[] => {
    const place = digest === undefined ? undefined : placeOf(upstream, link, page)
    return place === undefined || digest === undefined ? [] : [{ ...place, digest }]
  }
  if (!/\bjson\b/i.test(contentType)) {
    if (upstream.kind !== 'pypi') return []
    const links = [...bytes.toString('latin1').matchAll(LINK)]
    return links.flatMap(([, link = '', hex = '']) =>
      placed(link.replaceAll('&amp;', '&'), { algorithm: 'sha256', hex: hex.toLowerCase() }),
    )
  }
  try {
    const tree = yield* readJsonTree(bytes, LIMITS)
    const text = (node: JsonNode | undefined) => (node?.kind === 'string' ? textOf(bytes, node) : '')
    if (upstream.kind === 'pypi') {
      const files = fieldOf(tree, 'files')
      return (files?.kind === 'array' ? files.items : []).flatMap((file) => {
        const hex = text(fieldOf(fieldOf(file, 'hashes'), 'sha256'))
        return placed(text(fieldOf(file, 'url')), /^[0-9a-f]{64}$/.test(hex) ? { algorithm: 'sha256', hex } : undefined)
      })
    }
    const versions = fieldOf(tree, 'versions')
    const all = versions?.kind === 'object' ? [...versions.fields.values()].map(({ value }) => value) : [tree]
    return all.flatMap((version) => {
      const dist = fieldOf(version, 'dist')
      return placed(text(fieldOf(dist, 'tarball')), digestIn(text(fieldOf(dist, 'integrity'))))
    })
  } catch {
    return []
  }
}

/** The strongest of the digests in an integrity of npm. */
function digestIn(integrity: string): Digest | undefined {
  for (const algorithm of ['sha512', 'sha256'] as const) {
    const found = integrity.split(' ').find((each) => each.startsWith(`${algorithm}-`))
    const bytes = Buffer.from(found?.slice(algorithm.length + 1).split('?')[0] ?? '', 'base64')
    if (bytes.length === BYTES_OF[algorithm]) return { algorithm, hex: bytes.toString('hex') }
  }
  return undefined
}

/** Where a link of the page leads; undefined if not to this upstream. */
function placeOf(
  { url, files }: Upstream,
  link: string,
  page: string,
): Pick<NamedArchive, 'host' | 'path'> | undefined {
  if (!URL.canParse(link, page)) return undefined
  const { origin, pathname: path, search } = new URL(link, page)
  if (search !== '' || !isArchive(path)) return undefined
  if (files !== undefined && `${origin}${path}`.startsWith(`${files}/`)) return { host: 'files', path }
  return origin === new URL(url).origin ? { host: 'url', path } : undefined
}
