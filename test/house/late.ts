/**
 * Finds constants that a closure uses above their declaration. Pure, and without a TypeScript parser.
 *
 * 1. Calling such a closure too early throws. Its reader must look further down for what it uses.
 * 2. A name belongs to the innermost scope that binds it: a parameter or an inner declaration of the same name hides the outer one.
 * 3. Only `const` and `let` count. A function may be declared below its use: it exists from the beginning.
 * 4. It relies on the formatter: a key or an annotated name touches its colon, and the lines that continue an expression are indented.
 */
import { matchBrackets, statement, typeGoesOn } from './functions.ts'
import { lineOf, scan, type Tree } from './source.ts'

/** Files that still hold such a use. The list only shrinks: a file that no longer needs to be on it is a finding. */
export const lateLeft: readonly string[] = ['hub/client/console/console.js']

/** Where the names that it binds are seen. The value of a name is the offset from which it may be used. */
type Scope = { from: number; to: number; isFunction: boolean; names: Map<string, number>; around: Scope | undefined }

/** The findings of a tree, one line each. */
export function judgeLate(tree: Tree, left: readonly string[] = []): string[] {
  return [...tree].flatMap(([path, text]) => {
    const found = findLate(text)
    if (left.includes(path))
      return found.length > 0 ? [] : [`${path}: no longer uses anything too early; take it off the list`]
    return found.map(
      ({ name, line, declared }) =>
        `${path}:${line}: a closure uses ${name}, which line ${declared} declares; declare it above, or make it a function`,
    )
  })
}

type Late = { name: string; line: number; declared: number }

function findLate(text: string): Late[] {
  const { code } = scan(text)
  const ends = matchBrackets(code)
  const scopes = findScopes(code, ends)
  bindNames(code, ends, scopes)
  const innermost = walkScopes(scopes)
  const found: Late[] = []
  for (const { 0: name, index } of code.matchAll(/(?<![\w$#@])(?<!(?<!\.\.)\.)[A-Za-z_$][\w$]*/g)) {
    let scope = innermost(index)
    if (!isUse(code, name, index, ends)) continue
    let inClosure = false
    while (scope !== undefined && !scope.names.has(name)) {
      inClosure ||= scope.isFunction
      scope = scope.around
    }
    const declared = scope?.names.get(name) ?? 0
    if (inClosure && index < declared) found.push({ name, line: lineOf(text, index), declared: lineOf(text, declared) })
  }
  return found
}

/** Whether the word is read or written here, and is not a key, a method, a type or an annotated binding. */
function isUse(code: string, word: string, at: number, ends: ReadonlyMap<number, number>): boolean {
  const before = code.slice(Math.max(0, at - 20), at)
  const end = at + word.length
  const after = code.slice(end, end + 20)
  if (/^\??:/.test(after)) return /\bcase\s+$/.test(before)
  if (/\btypeof\s+$/.test(before)) return /^\s*[!=]==/.test(after)
  const close = ends.get(end)
  return code[end] !== '(' || close === undefined || bodyAfter(code, end, ends)?.isArrow !== false
}

/** Every range in which names are bound, in the order in which they open, the outer one first. */
function findScopes(code: string, ends: ReadonlyMap<number, number>): Scope[] {
  const scopes: Scope[] = []
  const add = (from: number, to: number, isFunction: boolean, names: readonly string[] = []) =>
    scopes.push({ from, to, isFunction, names: new Map(names.map((name) => [name, 0])), around: undefined })
  add(-1, code.length, false)
  for (const [start, end] of ends) {
    if (code[start] === '{') add(start, end, false)
    if (code[start] !== '(') continue
    const inside = code.slice(start + 1, end)
    const head = /\b(?:for|for\s+await|(catch))\s*$/.exec(code.slice(Math.max(0, start - 16), start))
    const body = bodyAfter(code, start, ends)
    if (head !== null) add(start, endOfBody(code, end + 1, ends), false, head[1] === undefined ? [] : namesIn(inside))
    else if (body !== undefined) add(start, endOfBody(code, body.at, ends), true, namesIn(inside))
  }
  for (const match of code.matchAll(/(?<![\w$.])([A-Za-z_$][\w$]*)\s*=>/g))
    add(match.index, endOfBody(code, match.index + match[0].length, ends), true, [match[1] ?? ''])
  return scopes.sort((one, other) => one.from - other.from || other.to - one.to)
}

/** Binds what each scope declares; names that may be used from the beginning are bound to 0. */
function bindNames(code: string, ends: ReadonlyMap<number, number>, scopes: readonly Scope[]): void {
  const innermost = walkScopes(scopes)
  const words = /(?<![\w$.])(?<!\bas )(?:(const|let|var)|function\s*\*?|class)\s+(?=[\w${[])/g
  for (const match of code.matchAll(words)) {
    const scope = innermost(match.index)
    const at = match.index + match[0].length
    const pattern = code.slice(at, (ends.get(at) ?? code.length) + 1)
    for (const name of namesIn(/^[\w$]+/.exec(pattern)?.[0] ?? pattern))
      scope?.names.set(name, match[1] === undefined ? 0 : match.index)
  }
}

/** Of offsets that only grow: the innermost scope around each. */
function walkScopes(scopes: readonly Scope[]): (at: number) => Scope | undefined {
  let next = 0
  let scope: Scope | undefined
  const leave = (at: number) => {
    while (scope !== undefined && scope.to < at) scope = scope.around
  }
  return (at) => {
    for (let entered = scopes[next]; entered !== undefined && entered.from <= at; entered = scopes[next]) {
      leave(entered.from)
      entered.around = scope
      scope = entered
      next += 1
    }
    leave(at)
    return scope
  }
}

/** Where the body of the function with these parameters begins, or undefined where the bracket holds no parameters. */
function bodyAfter(
  code: string,
  open: number,
  ends: ReadonlyMap<number, number>,
): { at: number; isArrow: boolean } | undefined {
  let at = (ends.get(open) ?? code.length) + 1
  if (code[at] === ':') at = endOfType(code, at + 1, ends)
  while (code[at] === ' ') at += 1
  if (code.startsWith('=>', at)) return { at: at + 2, isArrow: true }
  return code[at] === '{' && !statement.test(code.slice(Math.max(0, open - 12), open))
    ? { at, isArrow: false }
    : undefined
}

/** The offset of the arrow, the brace or the other sign that ends the type of a result. */
function endOfType(code: string, from: number, ends: ReadonlyMap<number, number>): number {
  for (let at = from; at < code.length; at += 1) {
    const sign = code[at] ?? ''
    if (code.startsWith('=>', at) || /[;)\]}\n]/.test(sign)) return at
    if (sign === '{' && !typeGoesOn.test(code.slice(from - 1, at))) return at
    const end = ends.get(at)
    if (end === undefined) continue
    at = end
    // The type of a function: its arrow is not the one that is looked for.
    if (sign === '(' && code.startsWith(' =>', end + 1)) at += 3
  }
  return code.length
}

/** The end of a block, or of the expression that stands here. */
function endOfBody(code: string, from: number, ends: ReadonlyMap<number, number>): number {
  const start = from + (/^\s*/.exec(code.slice(from, from + 200))?.[0].length ?? 0)
  if (code[start] === '{') return ends.get(start) ?? code.length
  const lineStart = code.lastIndexOf('\n', from - 1) + 1
  const indent = indentAt(code, lineStart)
  for (let at = start; at < code.length; at += 1) {
    const sign = code[at] ?? ''
    if (/[,;)\]}]/.test(sign)) return at
    if (sign === '\n' && indentAt(code, at + 1) <= indent) return at
    at = ends.get(at) ?? at
  }
  return code.length
}

/** The number of spaces before the next word from the beginning of a line on. */
const indentAt = (code: string, at: number) => /^\s*?( *)(?=\S|$)/.exec(code.slice(at, at + 400))?.[1]?.length ?? 0

/** The names that a list of parameters binds, or a pattern in square brackets, or, `inBraces`, one in braces. */
function namesIn(list: string, inBraces = false): string[] {
  return partsOf(list).flatMap((part) => {
    const bare = part.trim().replace(/^\.{3}|^(?:(?:private|protected|public|readonly)\s+)+/, '')
    const target = inBraces ? bare.replace(/^[^:={]*:\s*/, '') : bare
    if (target.startsWith('{') || target.startsWith('[')) {
      const end = matchBrackets(target).get(0) ?? target.length
      return namesIn(target.slice(1, end), target.startsWith('{'))
    }
    return /^[A-Za-z_$][\w$]*/.exec(target)?.slice(0, 1) ?? []
  })
}

/** The parts of a list between the commas that stand in no bracket. */
function partsOf(list: string): string[] {
  const ends = matchBrackets(list)
  const parts: string[] = []
  let from = 0
  for (let at = 0; at <= list.length; at += 1) {
    if (at === list.length || list[at] === ',') {
      parts.push(list.slice(from, at))
      from = at + 1
    }
    at = ends.get(at) ?? at
  }
  return parts
}
