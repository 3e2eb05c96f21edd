/** Judges the shape of source files: length, names, banned calls and words. Pure, so that it can be shown to fail. */
import { posix } from 'node:path'
import { findFunctions } from './functions.ts'
import { readImports } from './layers.ts'
import { lineOf, scan, type Tree } from './source.ts'

/** Lines of one source file. */
export const fileLinesMax = 400
/** Lines of one function, without those of the functions inside it. */
export const functionLinesMax = 80

/** Files that still hold a longer function. The list only shrinks: a file that no longer needs to be on it is a finding. */
export const longFunctionsLeft = ['hub/main.ts']

/** How many files of its own process, `base` aside, one file may load. */
export const fanOutMax = 15
/** Not builders: the table of commands loads each file when its command runs, and the process has a file for each of its words. */
export const fanOutFree = ['hub/client/cli/table.ts', 'hub/main.ts']

type Ban = {
  /** Searched in code only: neither comments nor the contents of strings match. */
  pattern: RegExp
  /** What the code must do instead. */
  instead: string
  /** Where it is allowed: a path, or a folder ending in `/`. */
  allowed: readonly string[]
}

/** Where reading the real clock, waiting in real time and real randomness belong, each with its reason. */
const outsideTheHub = [
  'hub/main.ts', // hands the real ones to createHub
  'hub/client/', // runs in other processes: the command, the agent SDK, the page
  'watchdog/main.ts', // hands the real ones to the watchdog
  'images/', // agents' own programs
  'scripts/', // tools
]
const time = ['hub/base/clock.ts', 'watchdog/base/clock.ts', ...outsideTheHub]
const chance = ['hub/base/random.ts', ...outsideTheHub]
const clock = 'take the time from the clock you are handed (hub/base/clock.ts; watchdog/base/clock.ts in the watchdog)'
const waiting = 'wait with the clock you are handed, or make it a loop (hub/base/loop.ts)'
const random = 'take it from the random source you are handed (hub/base/random.ts)'
const configuration = 'take it from the options; only main.ts and the client read the environment'

/** A global by its bare name, or through globalThis; not a method of the same name such as `socket.setTimeout`. */
const bare = (name: string) => new RegExp(`(?<![.\\w$])(?:globalThis\\s*\\.\\s*)?${name}\\b`, 'g')

export const bans: readonly Ban[] = [
  { pattern: /\bDate\s*\.\s*now\b/g, instead: clock, allowed: time },
  { pattern: /\bnew\s+Date\s*(?:\(\s*\)|(?![\s(]))/g, instead: clock, allowed: time },
  { pattern: /(?<![.\w$])(?<!new\s+)Date\s*\(/g, instead: clock, allowed: time },
  { pattern: bare('performance'), instead: clock, allowed: time },
  { pattern: /\bprocess\s*\.\s*(?:hrtime|uptime)\b/g, instead: clock, allowed: time },
  { pattern: /\bos\s*\.\s*uptime\b/g, instead: clock, allowed: time },
  { pattern: bare('setTimeout'), instead: waiting, allowed: time },
  { pattern: bare('setInterval'), instead: waiting, allowed: time },
  { pattern: /\bAbortSignal\s*\.\s*timeout\b/g, instead: waiting, allowed: time },
  { pattern: /\bMath\s*\.\s*random\b/g, instead: random, allowed: chance },
  { pattern: /\b(?:randomBytes|randomUUID|randomInt|getRandomValues)\b/g, instead: random, allowed: chance },
  {
    pattern: /\bprocess\s*\.\s*env\b/g,
    instead: configuration,
    allowed: ['hub/main.ts', 'hub/client/', 'watchdog/main.ts', 'images/', 'scripts/'],
  },
  {
    pattern: /(?<![.\w$])console\s*\.\s*\w+/g,
    instead: 'write to the logger you are handed (hub/base/telemetry.ts)',
    allowed: ['hub/main.ts', 'hub/client/cli.ts', 'hub/client/cli/', 'watchdog/main.ts', 'images/', 'scripts/'],
  },
  { pattern: /\bas\s+any\b/g, instead: 'narrow it with a check, or use unknown', allowed: [] },
  { pattern: /\.\s*only\s*\(/g, instead: 'let every test run', allowed: [] },
  {
    pattern: /\bexport\s+default\b|\bas\s+default\b/g,
    instead: 'export it by name',
    allowed: ['images/', 'vitest.config.ts', 'hub/client/console-types/htm.d.ts'],
  },
]

/** Of the page alone: text of agents must stay text, and what a tab holds must end with it. */
const pageBans: readonly Ban[] = [
  {
    pattern:
      /\b(?:innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|srcdoc|document\s*\.\s*write|setAttribute)\b/g,
    instead: 'let preact make text of it',
    allowed: [],
  },
  { pattern: /\beval\b|\bnew\s+Function\b/g, instead: 'write the code down', allowed: [] },
  {
    pattern: /\b(?:localStorage|indexedDB|caches|serviceWorker)\b|\bcookie\b/g,
    instead: 'sessionStorage',
    allowed: [],
  },
]

/** Modules through which the banned globals could come in by another name. */
const modulesBanned: readonly Ban[] = [
  { pattern: /^(?:node:)?timers(?:\/promises)?$/, instead: waiting, allowed: time },
  { pattern: /^(?:node:)?perf_hooks$/, instead: clock, allowed: time },
  { pattern: /^(?:node:)?process$/, instead: configuration, allowed: time },
]

const commentsBanned: readonly Ban[] = [
  { pattern: /@ts-(?:ignore|nocheck)\b/g, instead: 'make the types say what is true', allowed: [] },
  // In a test it proves that wrong use does not type-check.
  { pattern: /@ts-expect-error\b/g, instead: 'make the types say what is true', allowed: ['test/'] },
  { pattern: /\b(?:TODO|FIXME|XXX)\b/g, instead: 'do it, or say what is so and why', allowed: [] },
]

/** Words that say nothing of what a file holds. */
const wordsBanned = ['util', 'utils', 'helper', 'helpers', 'common', 'misc', 'manager', 'service', 'index']

const isIn = (path: string, places: readonly string[]) =>
  places.some((place) => (place.endsWith('/') ? path.startsWith(place) : path === place))

const isPage = (path: string) => path.startsWith('hub/client/console/')

/** The findings of a tree, one line each: path, line, what was found, what to do in its place. */
export function judgeShape(tree: Tree, longLeft: readonly string[] = []): string[] {
  return [...tree].flatMap(([path, text]) => [
    ...judgeName(path),
    ...judgeText(path, text),
    ...judgeFunctions(path, text, longLeft.includes(path)),
  ])
}

/** What a file loads at run time of its own process, `base` aside. */
export function fanOutOf(path: string, text: string): number {
  const loaded = readImports(path, text)
    .filter(({ specifier, typeOnly }) => specifier.startsWith('.') && !typeOnly)
    .map(({ specifier }) => posix.join(posix.dirname(path), specifier))
  return new Set(loaded.filter((to) => !/^(?:hub|watchdog)\/base\//.test(to))).size
}

/** Every file of hub and watchdog that loads too many others to be read at once: its part needs builders of its own. */
export function judgeFanOut(tree: Tree, free: readonly string[] = []): string[] {
  return [...tree].flatMap(([path, text]) => {
    const count = fanOutOf(path, text)
    if (free.includes(path)) return count > fanOutMax ? [] : [`${path}: loads ${count} files; take it off the list`]
    return count > fanOutMax
      ? [`${path}: loads ${count} files, more than ${fanOutMax}; give a part of it a builder of its own`]
      : []
  })
}

/** How many neighbours hub and watchdog may have together: fifty were right for 539 files, and a house that grows keeps the same share. */
export const neighboursMax = (files: number): number => Math.max(50, Math.floor(files / 11))

/** The files with exactly one importer, which stands in the same folder: a reader of one must open the other too. */
export function neighboursOf(tree: Tree): string[] {
  const importers = new Map<string, Set<string>>()
  for (const [path, text] of tree)
    for (const { specifier } of readImports(path, text)) {
      if (!specifier.startsWith('.')) continue
      const to = posix.join(posix.dirname(path), specifier)
      importers.set(to, (importers.get(to) ?? new Set()).add(path))
    }
  return [...tree.keys()].filter((path) => {
    const [by = '', ...more] = importers.get(path) ?? []
    return more.length === 0 && posix.dirname(by) === posix.dirname(path)
  })
}

/** Too many neighbours: subjects were cut smaller than a reader wants them. */
export function judgeNeighbours(tree: Tree): string[] {
  const found = neighboursOf(tree)
  const most = neighboursMax(tree.size)
  return found.length <= most
    ? []
    : [
        `${found.length} files are loaded by one file of their folder only, at most ${most}; join some: ${found.join(' ')}`,
      ]
}

function judgeFunctions(path: string, text: string, mayBeLong: boolean): string[] {
  if (path.startsWith('test/')) return []
  const long = findFunctions(text).filter(({ ownLines }) => ownLines > functionLinesMax)
  if (mayBeLong) return long.length > 0 ? [] : [`${path}: no longer holds a long function; take it off the list`]
  return long.map(
    ({ line, ownLines }) => `${path}:${line}: a function of ${ownLines} lines, at most ${functionLinesMax}; split it`,
  )
}

function judgeName(path: string): string[] {
  const name = path.split('/').at(-1) ?? ''
  const stem = name.slice(0, name.indexOf('.'))
  const findings: string[] = []
  // A browser strips no types.
  const ending = isPage(path) ? /\.js$/ : /\.ts$/
  if (!/^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z]+)*$/.test(name) || !ending.test(name))
    findings.push(`${path}: name files in kebab-case`)
  const word = stem.split('-').find((part) => wordsBanned.includes(part))
  if (word !== undefined) findings.push(`${path}: "${word}" says nothing; name the file after the noun it holds`)
  return findings
}

function judgeText(path: string, text: string): string[] {
  const { code, comments } = scan(text)
  const findings: string[] = []
  const lines = text.replace(/\n$/, '').split('\n').length
  if (lines > fileLinesMax && !path.startsWith('test/')) {
    findings.push(`${path}: ${lines} lines, at most ${fileLinesMax}; split it by noun`)
  }
  const search = (where: string, bans: readonly Ban[]) => {
    for (const ban of bans.filter((each) => !isIn(path, each.allowed))) {
      for (const match of where.matchAll(ban.pattern)) {
        const found = text.slice(match.index, match.index + match[0].length).replace(/\s+/g, ' ')
        findings.push(`${path}:${lineOf(text, match.index)}: ${found}; ${ban.instead}`)
      }
    }
  }
  // Tests run against real time and processes where that is what they prove; words and types bind them too.
  search(code, path.startsWith('test/') ? bans.filter((ban) => ban.allowed.length === 0) : bans)
  if (isPage(path)) search(code, pageBans)
  search(comments, commentsBanned)
  if (path.startsWith('test/')) return findings
  for (const match of code.matchAll(/\bfrom\s*['"][^'"]*['"]|\bimport\s*\(?\s*['"][^'"]*['"]/g)) {
    const specifier = /['"](.*)['"]/.exec(text.slice(match.index, match.index + match[0].length))?.[1] ?? ''
    const ban = modulesBanned.find((each) => each.pattern.test(specifier) && !isIn(path, each.allowed))
    if (ban) findings.push(`${path}:${lineOf(text, match.index)}: import of ${specifier}; ${ban.instead}`)
  }
  return findings
}
