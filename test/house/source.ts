/**
 * Reads the project's own source text, and blanks out what is not code, without a TypeScript parser.
 *
 * 1. Blanking keeps every offset and line break, so a place found in `code` is the same place in the file.
 * 2. The quotes of a string stay, its contents become spaces; in a template the `${...}` parts are code.
 * 3. A string or regular expression never runs past its line: one misread quote cannot hide the rest of a file.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export const repositoryRoot = dirname(dirname(import.meta.dirname))

/** Path from the repository's root, with slashes, to the file's text. */
export type Tree = ReadonlyMap<string, string>

/** Every file below the folders (or the one file) whose name ends in one of the extensions. Missing folders hold none. */
export function readTree(folders: readonly string[], extensions: readonly string[]): Tree {
  const tree = new Map<string, string>()
  for (const path of folders.flatMap((folder) => listFiles(folder)).sort()) {
    if (extensions.some((extension) => path.endsWith(extension)))
      tree.set(path, readFileSync(join(repositoryRoot, path), 'utf8'))
  }
  return tree
}

/** Every file below a folder of the repository, as paths from its root; nothing of node_modules or hidden folders. */
export function listFiles(folder: string): string[] {
  const full = join(repositoryRoot, folder)
  if (!existsSync(full)) return []
  return readdirSync(full, { withFileTypes: true }).flatMap((entry) => {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`
    if (!entry.isDirectory()) return [path]
    return entry.name === 'node_modules' || entry.name.startsWith('.') ? [] : listFiles(path)
  })
}

/** `code`: the text with comments and the contents of strings blanked. `comments`: the comments, the rest blanked. */
export type Scan = { code: string; comments: string }

const regexMayFollow =
  /(?:^|[=(,:;!&|?{[+\-*%<>~^]|\b(?:return|typeof|case|in|of|do|else|void|delete|throw|await|yield))\s*$/

/** Splits TypeScript or JavaScript text into code and comments. */
export function scan(text: string): Scan {
  const code: string[] = []
  const comments: string[] = []
  const blank = (part: string) => part.replace(/[^\n]/g, ' ')
  let at = 0
  let line = '' // the code of the current statement so far, to tell a regular expression from a division
  const take = (length: number, kind: 'code' | 'comment' | 'blank') => {
    const part = text.slice(at, at + length)
    code.push(kind === 'code' ? part : blank(part))
    comments.push(kind === 'comment' ? part : blank(part))
    if (kind === 'code') line = (line + part.slice(-40)).slice(-40)
    at += length
  }
  const braces: number[] = [] // open braces inside each `${` we are in
  const template = () => {
    while (at < text.length) {
      if (text[at] === '`') return take(1, 'code')
      if (text.startsWith('${', at)) {
        take(2, 'code')
        braces.push(0)
        return
      }
      take(text[at] === '\\' ? 2 : 1, 'blank')
    }
  }
  /** How much of the text from here on matches; the pattern is sticky, so that nothing is copied to look. */
  const length = (pattern: RegExp): number => {
    pattern.lastIndex = at
    return pattern.exec(text)?.[0].length ?? 0
  }
  const quoted = (end: RegExp) => {
    take(1, 'code')
    take(length(end), 'blank')
    if (at < text.length && text[at] !== '\n') take(1, 'code')
  }
  while (at < text.length) {
    const here = text[at]
    const rest = text.startsWith('//', at)
      ? /[^\n]*/y
      : text.startsWith('/*', at)
        ? /\/\*[\s\S]*?(?:\*\/|$)/y
        : undefined
    if (rest) take(length(rest) || 2, 'comment')
    else if (here === "'") quoted(/(?:\\.|[^'\\\n])*/y)
    else if (here === '"') quoted(/(?:\\.|[^"\\\n])*/y)
    else if (here === '`') {
      take(1, 'code')
      template()
    } else if (here === '/' && regexMayFollow.test(line)) quoted(/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])*/y)
    else if (here === '{' || here === '}') {
      const depth = braces.at(-1)
      take(1, 'code')
      if (depth === undefined) continue
      if (here === '}' && depth === 0) {
        braces.pop()
        template()
      } else braces[braces.length - 1] = depth + (here === '{' ? 1 : -1)
    } else take(Math.max(1, length(/[^'"`/{}]+/y)), 'code')
  }
  return { code: code.join(''), comments: comments.join('') }
}

/** The line number, from 1, of an offset. */
export function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length
}
