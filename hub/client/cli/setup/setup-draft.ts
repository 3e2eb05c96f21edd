/**
 * Answers of `hub setup` that wait for the rest of their part, as a mail address waits for its server. They are kept in `setup-draft.json` of
 * the home and offered again after an interruption. Never a secret. Removed once the part is written or left out.
 */
import { readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { writeWhole } from '../home-files.ts'

const fileOf = (home: string): string => path.join(home, 'setup-draft.json')

/** Empty if nothing waits or the file cannot be read. */
function read(home: string): Map<string, string> {
  try {
    const said: unknown = JSON.parse(readFileSync(fileOf(home), 'utf8'))
    const rows = typeof said === 'object' && said !== null ? Object.entries(said) : []
    return new Map(rows.filter((row): row is [string, string] => typeof row[1] === 'string'))
  } catch {
    return new Map()
  }
}

export function createDraft(home: string) {
  const waiting = read(home)
  const keep = () => {
    if (waiting.size === 0) rmSync(fileOf(home), { force: true })
    else writeWhole(fileOf(home), `${JSON.stringify(Object.fromEntries(waiting))}\n`)
  }
  return {
    answer: (part: string, key: string): string | undefined => waiting.get(`${part}.${key}`),
    put(part: string, key: string, answer: string): void {
      if (answer === '') waiting.delete(`${part}.${key}`)
      else waiting.set(`${part}.${key}`, answer)
      keep()
    },
    drop(part: string): void {
      const own = [...waiting.keys()].filter((key) => key.startsWith(`${part}.`))
      if (own.length === 0) return
      for (const key of own) waiting.delete(key)
      keep()
    },
  }
}
export type Draft = ReturnType<typeof createDraft>
