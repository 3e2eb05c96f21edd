/** What of an input is left out, and why, in words that a person understands; of five thousand of a kind one line (fault C19). */

/** `one` goes on from "left out, ", `many` where there are several. */
const WHYS = {
  history: {
    one: 'its history stays here: an agent is given files',
    many: 'histories stay here: an agent is given files',
  },
  repository: {
    one: 'it is a git repository of its own (a submodule or a nested one); to send it, submit it by itself',
    many: 'they are git repositories of their own (submodules or nested ones); to send one, submit it by itself',
  },
  empty: {
    one: 'it is a submodule that is not checked out here; `git submodule update --init` fetches it',
    many: 'they are submodules that are not checked out here; `git submodule update --init` fetches them',
  },
  absent: {
    one: 'git knows it and it is not here (a sparse checkout, or deleted)',
    many: 'git knows them and they are not here (a sparse checkout, or deleted)',
  },
  gone: { one: 'it no longer exists', many: 'they no longer exist' },
  link: { one: 'it is a symbolic link', many: 'they are symbolic links' },
  folder: { one: 'it is a folder where git knows a file', many: 'they are folders where git knows files' },
  special: { one: 'it is no regular file', many: 'they are no regular files' },
  name: { one: 'its name cannot be sent', many: 'their names cannot be sent' },
  ignored: { one: 'a .gitignore excludes it', many: 'a .gitignore excludes them' },
} as const

export type Why = keyof typeof WHYS

export interface LeftOut {
  /** As it may be shown: what is no valid path stands in quotation marks. */
  path: string
  why: Why
  /** What is wrong with the name, as "holds a control character". */
  detail?: string
}

const SHOWN = 3

/** One line for each reason: a few names, how many more, and why. */
export function leftOutLines(left: readonly LeftOut[]): string[] {
  const kinds = new Map<string, LeftOut[]>()
  for (const each of left) {
    const kind = `${each.why} ${each.detail ?? ''}`
    const same = kinds.get(kind)
    if (same === undefined) kinds.set(kind, [each])
    else same.push(each)
  }
  return [...kinds.values()].map((each) => {
    const names = each.slice(0, SHOWN).map(({ path }) => path)
    const more = each.length > names.length ? ` and ${each.length - names.length} more` : ''
    const { why = 'gone', detail } = each[0] ?? {}
    const word = WHYS[why][each.length === 1 ? 'one' : 'many']
    const said =
      detail === undefined ? word : each.length === 1 ? `its name ${detail}` : `each has a name that ${detail}`
    return `${names.join(', ')}${more}: left out, ${said}`
  })
}
