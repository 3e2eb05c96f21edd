/**
 * Measures functions without a TypeScript parser: where each one begins, and how many lines are its own.
 *
 * 1. The lines of a function inside another count for the inner one only: a builder that returns the functions it holds is short.
 * 2. An arrow function without braces counts for the function around it.
 * 3. It relies on the formatter: there is no space before the colon of a return type.
 */
import { scan } from './source.ts'

export type FunctionFound = { line: number; ownLines: number }

/** Every function with a body in braces, in the order in which they end. */
export function findFunctions(text: string): FunctionFound[] {
  const { code } = scan(text)
  const bodies = findBodies(code)
  const found: FunctionFound[] = []
  const open: { line: number; isFunction: boolean; innerLines: number }[] = []
  let line = 1
  for (let at = 0; at < code.length; at += 1) {
    if (code[at] === '\n') line += 1
    if (code[at] === '{') open.push({ line, isFunction: bodies.has(at), innerLines: 0 })
    if (code[at] !== '}') continue
    const ended = open.pop()
    if (ended === undefined) continue
    const lines = line - ended.line + 1
    const around = open.at(-1)
    if (around !== undefined) around.innerLines += ended.isFunction ? lines : ended.innerLines
    if (ended.isFunction) found.push({ line: ended.line, ownLines: lines - ended.innerLines })
  }
  return found
}

/** A word before `(...) {` that makes it a statement and no function. */
export const statement = /\b(?:if|for|while|switch|catch|with|await)\s*$/
/** What comes before a brace of a type, after which more of the type may follow. */
export const typeGoesOn = /(?:[:|&<,]|=>|\b(?:is|keyof|readonly|extends))\s*$/
const closing: Readonly<Record<string, string>> = { '(': ')', '[': ']', '{': '}' }

/** The offsets of the braces that open a body: after `=>`, or after `(...)` with or without a return type. */
function findBodies(code: string): Set<number> {
  const bodies = new Set([...code.matchAll(/=>\s*\{/g)].map((match) => match.index + match[0].length - 1))
  const ends = matchBrackets(code)
  for (const [start, end] of ends) {
    if (code[start] !== '(' || statement.test(code.slice(Math.max(0, start - 12), start))) continue
    const body = code[end + 1] === ':' ? findAfterType(code, end + 2, ends) : end + 1 + spaceAt(code, end + 1)
    if (body !== undefined && code[body] === '{') bodies.add(body)
  }
  return bodies
}

/** The offset of the brace that follows the type that begins here, or undefined if another sign ends it. */
function findAfterType(code: string, from: number, ends: ReadonlyMap<number, number>): number | undefined {
  for (let at = from; at < code.length; at += 1) {
    const sign = code[at] ?? ''
    if (sign === '{' && !typeGoesOn.test(code.slice(from - 1, at))) return at
    if (sign in closing) at = ends.get(at) ?? code.length
    else if (/[;)\]}\n]/.test(sign)) return undefined
  }
  return undefined
}

const spaceAt = (code: string, at: number) => /^\s*/.exec(code.slice(at, at + 200))?.[0].length ?? 0

/** The offset of each opening bracket to that of its closing one. */
export function matchBrackets(code: string): Map<number, number> {
  const ends = new Map<number, number>()
  const open: number[] = []
  for (let at = 0; at < code.length; at += 1) {
    const sign = code[at] ?? ''
    if (sign in closing) open.push(at)
    else if (sign === ')' || sign === ']' || sign === '}') {
      const start = open.pop()
      if (start !== undefined) ends.set(start, at)
    }
  }
  return ends
}
