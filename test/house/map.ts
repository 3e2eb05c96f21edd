/** Finds the repository paths that a document names, and judges whether each is there. Pure. */
import { posix } from 'node:path'

/** Names that look like paths of this repository and are none. */
const notPaths = [
  /^hub\/admit(?:\/|$)/, // the entry point of the policies, a rego package path
]

const topFolders = ['hub', 'watchdog', 'policies', 'images', 'scripts', 'test', '.ci']
const sourceExtension = /\.(?:ts|rego|sql)$/
const rootDocument = /^[A-Z]+(?:-[A-Z]+)*\.md$|^(?:package|package-lock|tsconfig|biome)\.json$|^LICENSE$/
/** Letters, slashes and the placeholders `*` and `<name>`; anything else (spaces, colons, `~`) is no path of ours. */
const plain = /^(?:\.\/)?[\w.@*-]*(?:<[\w-]+>|[\w.@*/-]|\{[\w.,-]+\})*$/

type Mention = { line: number; name: string }

/** What a Markdown text names: in backticks, as a link's target, and in code blocks the scripts it calls. */
export function readMentions(markdown: string): Mention[] {
  const mentions: Mention[] = []
  let fenced = false
  for (const [at, text] of markdown.split('\n').entries()) {
    const found: (string | undefined)[] = []
    if (/^\s*(?:```|~~~)/.test(text)) fenced = !fenced
    else if (fenced)
      found.push(...[...text.matchAll(/(?<![\w./-])(?:\.\/)?((?:scripts|\.ci)\/[\w./-]+)/g)].map((match) => match[1]))
    else {
      found.push(...[...text.matchAll(/`([^`]+)`/g)].map((match) => match[1]))
      found.push(...[...text.matchAll(/\]\(([^)\s#]+)[^)]*\)/g)].map((match) => match[1]))
    }
    for (const name of found) if (name !== undefined) mentions.push({ line: at + 1, name })
  }
  return mentions
}

/** Whether a name is meant as a path of this repository, seen from a document's folder ('' is the root). */
export function looksLikePath(name: string, folder: string): boolean {
  if (!plain.test(name) || notPaths.some((pattern) => pattern.test(name))) return false
  const path = name.replace(/^\.\//, '')
  if (path.includes('/')) {
    if (topFolders.includes(path.split('/')[0] ?? '')) return true
    return folder !== '' && !path.startsWith('/') && (sourceExtension.test(path) || path.startsWith('../'))
  }
  return /^[\w<*-]/.test(path) && (sourceExtension.test(path) || rootDocument.test(path))
}

/**
 * The names in one document that mean nothing, one line each. `files` are all paths of the repository.
 * A name is right from the root or from the document's folder; a bare file name also when any file bears it.
 */
export function judgeMap(document: string, markdown: string, files: readonly string[]): string[] {
  const folder = posix.dirname(document) === '.' ? '' : posix.dirname(document)
  const folders = new Set(files.flatMap((file) => file.split('/').map((_, at, parts) => parts.slice(0, at).join('/'))))
  const known = [...files, ...[...folders].filter((path) => path !== '')]
  return readMentions(markdown)
    .filter(({ name }) => looksLikePath(name, folder))
    .filter(({ name }) => {
      const path = name.replace(/^\.\//, '').replace(/\/$/, '')
      const meant = [path, posix.join(folder, path)].map(patternOf)
      if (!path.includes('/')) meant.push(new RegExp(`(?:^|/)${patternOf(path).source.slice(1)}`))
      return !known.some((each) => meant.some((pattern) => pattern.test(each)))
    })
    .map(({ line, name }) => `${document}:${line} names ${name}, which is not there`)
}

/** `*` and `<name>` stand for one part of a path, `{a,b}` for either. */
function patternOf(path: string): RegExp {
  const source = path
    .replace(/[.+?^$()|[\]\\]/g, '\\$&')
    .replace(/\*+|<[\w-]+>/g, '[^/]+')
    .replace(/\{([^}]*)\}/g, (_, options: string) => `(?:${options.replaceAll(',', '|')})`)
  return new RegExp(`^${source}$`)
}
