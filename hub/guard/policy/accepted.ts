/**
 * The rules that were accepted last, kept in the database: what rules if the files of the checkout or of the home are refused (S1-16, T21).
 * Owns the table `policy_file`. What is read back is checked like any bundle, digest by digest.
 */
import type { PolicyFiles } from './shipped.ts'

type Part = 'home' | 'shipped'

export interface Accepted {
  /** The files of a part; undefined if none was ever accepted. */
  files(part: Part): PolicyFiles | undefined
  /** Replaces those of a part, if they differ. Inside or outside a transaction. */
  keep(part: Part, files: ReadonlyMap<string, Buffer>): void
}

export interface AcceptedParts {
  database: {
    prepare(sql: string): { run(...values: unknown[]): unknown; all(...values: unknown[]): unknown[] }
    transaction<Result>(work: () => Result): Result
    readonly inTransaction: boolean
  }
}

export function createAccepted({ database }: AcceptedParts): Accepted {
  const all = database.prepare('select name, bytes from policy_file where part = ? order by name')
  const clear = database.prepare('delete from policy_file where part = ?')
  const insert = database.prepare('insert into policy_file values (?, ?, ?)')
  const read = (part: Part) =>
    new Map((all.all(part) as { name: string; bytes: Buffer }[]).map(({ name, bytes }) => [name, bytes]))

  return {
    files(part) {
      const kept = read(part)
      if (kept.size === 0) return undefined
      return {
        place: `the ${part === 'home' ? "operator's" : 'shipped'} rules that were accepted last`,
        names: () => [...kept.keys()],
        read(name) {
          const bytes = kept.get(name)
          if (bytes === undefined) throw Object.assign(new Error('it is not there'), { code: 'ENOENT' })
          return bytes
        },
      }
    },
    keep(part, files) {
      const kept = read(part)
      if (kept.size === files.size && [...files].every(([name, bytes]) => kept.get(name)?.equals(bytes))) return
      const save = () => {
        clear.run(part)
        for (const [name, bytes] of files) insert.run(part, name, bytes)
      }
      if (database.inTransaction) save()
      else database.transaction(save)
    },
  }
}
