/**
 * What comments, test names and documents cite, and whether it exists. Pure.
 *
 * A document is cited by its path from the root and a section or an id: `docs/safety.md 3`, `docs/safety.md watch-28`. Requirements, threats,
 * incidents, invariants and rules are cited by their id alone. A rule that a file's own comment begins with a letter and a
 * number is cited elsewhere with that file: `database.ts S3`. A fault is cited as `fault F3`.
 */
import { posix } from 'node:path'
import { namesOf } from './names.ts'
import { lineOf, scan } from './source.ts'

/** The documents of this repository, by their path. */
export type Documents = ReadonlyMap<string, string>

const RULES = 'docs/safety.md'
/** The document that gives ids of each form. */
const HOMES: readonly (readonly [form: RegExp, home: string])[] = [
  [/\bS[0-4]-\d+\b/g, 'docs/requirements.md'],
  [/(?<![\w-])[TX]\d{1,3}\b(?!-)/g, 'docs/threats.md'],
  [/(?<![\w-])I[1-9]\b(?![-.])/g, 'docs/threats.md'],
  [/\b(?:cond|mode|presence|time|away|watch|stop|contact|alert|audit|clock|flag)-\d+\b/g, RULES],
]
/** A document by a name in small letters, or by one of the capital ones that a repository has. */
const DOCUMENT = /(?<![\w./<>'-])((?:[\w-]+\/)*[\w-]+\.md)`?(?:((?:,? (?:and |to )?\d+)+)(?![\w:%-]))?/g
const LETTERED = /(?<![\w[/-])[A-HJ-RU-WYZS]\d{1,2}\b(?![\w-])/g

/** Its document gives an id as the first cell of a row, or in bold. */
const stands = (document: string, id: string) => new RegExp(`(?:^\\| |\\*\\*)${id}(?:\\*\\*| \\|)`, 'm').test(document)

/** The parts of a file that people read: comments and test names, or all of a document. */
export function wordsOf(path: string, text: string): string {
  if (path.endsWith('.md')) return text
  if (/\.(?:ts|js|mjs)$/.test(path)) return `${scan(text).comments}\n${namesOf(text).join('\n')}`
  return text.replaceAll(/^(?!\s*(?:#|--)).*$/gm, '')
}

/** Lettered rules: begun in this file, or cited with a file or as a fault. */
function foreignLetters(words: string): string[] {
  const begun = (id: string) => new RegExp(`(?:^[\\s/*]*|[.;:!?] [\\s*]*)${id}\\.? `, 'm').test(words)
  return [...words.matchAll(LETTERED)].flatMap(({ 0: id, index }) => {
    const before = words.slice(Math.max(0, index - 80), index).replaceAll(/[\s*]+/g, ' ')
    const isFault = /\b[Ff]aults? (?:[A-Z]\d+[a-z]?(?:, | and | to |\/|, and ))*$/.test(before)
    const isOfFile = /\w\.(?:ts|js|rego|md) (?:[A-Z]\d+(?:, | and | to ))*$/.test(before)
    const isCharacters = /\bDEL, $|\bG_?$/.test(before)
    return isFault || isOfFile || isCharacters || begun(id) ? [] : [id]
  })
}

/** Every citation of one file that leads nowhere, as `path:line: what`. */
export function judgeCitations(path: string, text: string, documents: Documents): string[] {
  const words = wordsOf(path, text)
  const found: string[] = []
  const tell = (at: number, what: string) => found.push(`${path}:${lineOf(words, at)}: ${what}`)
  for (const [form, home] of HOMES)
    for (const { 0: id, index } of words.matchAll(form))
      if (!stands(documents.get(home) ?? '', id)) tell(index, `${id} is not in ${home}`)
  for (const { 0: whole, 1: name = '', 2: sections = '', index } of words.matchAll(DOCUMENT)) {
    const document = documents.get(name) ?? documents.get(posix.join(posix.dirname(path), name))
    if (document === undefined) tell(index, `this repository has no document ${name}`)
    for (const section of sections.match(/\d+/g) ?? [])
      if (document !== undefined && !new RegExp(`^## ${section}\\. `, 'm').test(document))
        tell(index, `${whole}: ${name} has no section ${section}`)
  }
  if (!path.endsWith('.md'))
    // The threats of egress bear a letter that files begin rules with too.
    for (const id of foreignLetters(words))
      if (!(id.startsWith('E') && stands(documents.get('docs/threats.md') ?? '', id)))
        found.push(`${path}: ${id} is neither a fault nor a rule of a named file`)
  return found
}
