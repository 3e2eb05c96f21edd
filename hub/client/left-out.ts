/** What of an input is left out, and why, in words for a person; one line even for five thousand files of a kind (fault C19). */

/** Each text follows "left out, ": `one` for one file, `many` for several. */
const WHYS = {
  history: {
    one: 'its history stays here: an agent gets only files',
    many: 'histories stay here: an agent gets only files',
  },
  repository: {
    one: 'it is a separate git repository (a submodule or a nested one); to send it, submit it separately',
    many: 'they are separate git repositories (submodules or nested ones); to send one, submit it separately',
  },
  empty: {
    one: 'it is a submodule that is not checked out here; `git submodule update --init` fetches it',
    many: 'they are submodules that are not checked out here; `git submodule update --init` fetches them',
  },
  absent: {
    one: 'git tracks it, but it is not here (a sparse checkout, or deleted)',
    many: 'git tracks them, but they are not here (a sparse checkout, or deleted)',
  },
  gone: { one: 'it no longer exists', many: 'they no longer exist' },
  link: { one: 'it is a symbolic link', many: 'they are symbolic links' },
  folder: { one: 'it is a folder, but git tracks a file there', many: 'they are folders, but git tracks files there' },
  special: { one: 'it is not a regular file', many: 'they are not regular files' },
  name: { one: 'its name cannot be sent', many: 'their names cannot be sent' },
  ignored: { one: 'a .gitignore excludes it', many: 'a .gitignore excludes them' },
} as const

export type Why = keyof typeof WHYS

export interface LeftOut {
  /** Safe to show: in quotation marks if it is not a valid path. */
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
